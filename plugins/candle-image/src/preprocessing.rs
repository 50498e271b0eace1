//! The preprocessing of a network.

use std::fmt::{self, Display};

pub(crate) use crate::filter::Filter;

/// Mean and standard deviation of RGB from 0 to 1.
pub(crate) type Colours = [[f64; 3]; 2];
pub(crate) const IMAGENET: Colours = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
pub(crate) const HALVES: Colours = [[0.5; 3]; 2];
pub(crate) const CLIP: Colours = [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]];

#[derive(Clone)]
pub(crate) struct Preprocessing {
    /// Height and width that the network reads.
    pub(crate) size: [usize; 2],
    pub(crate) resize: Resize,
    pub(crate) centre: Centre,
    pub(crate) filter: Filter,
    /// RGB from 0 to 255 becomes `(value - mean) / deviation`.
    pub(crate) mean: [f64; 3],
    pub(crate) deviation: [f64; 3],
}

/// The resizing before the middle is cut out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Resize {
    No,
    /// The short side to so many pixels, the long one in proportion.
    Short(u32),
    /// Resized to height and width, regardless of proportions.
    To([u32; 2]),
    /// Cut first, to the square in the middle: `margin` would be left off if `size + margin` pixels were the short
    /// side.
    CropFirst {
        margin: u32,
    },
}

/// The middle of an odd remainder of pixels.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Centre {
    /// The pixel before it: transformers.
    Floor,
    /// The even one of its neighbours: torchvision.
    Even,
}

impl Preprocessing {
    /// Height and width first.
    pub(crate) fn new(size: [usize; 2], resize: Resize, centre: Centre, filter: Filter, colours: Colours) -> Self {
        let [mean, deviation] = colours.map(|channels| channels.map(|value| value * 255.0));
        Self { size, resize, centre, filter, mean, deviation }
    }

    /// That of EfficientNet-Lite's authors, with the antialiased filter that its port's results were taken with.
    pub(crate) fn lite(size: usize) -> Self {
        let (mean, deviation) = ([127.0; 3], [128.0; 3]);
        let resize = Resize::CropFirst { margin: 32 };
        Self { size: [size; 2], resize, centre: Centre::Floor, filter: Filter::Bicubic, mean, deviation }
    }
}

/// A description of the preprocessing of a cropped picture.
impl Display for Preprocessing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size: [height, width], filter, .. } = self;
        match self.resize {
            Resize::CropFirst { margin } => {
                let side = *width as u32;
                write!(f, "cropped to {side}/{} of the short side, {filter} to {width}x{height}", side + margin)?;
                return f.write_str(" as Pillow 13 does");
            }
            Resize::No => write!(f, "as large as it is")?,
            Resize::Short(side) => write!(f, "short side {filter} to {side} as Pillow 13 does")?,
            Resize::To([down, across]) => write!(f, "{filter} to {across}x{down} as Pillow 13 does")?,
        }
        let centre = if self.centre == Centre::Even { " (torchvision's)" } else { "" };
        write!(f, ", the middle {width}x{height} of it{centre}")
    }
}
