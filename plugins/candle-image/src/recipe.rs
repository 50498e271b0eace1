//! How a network wants its pictures: preprocessor_config.json, or what its family does without one.

use candle_kit::Source;
use fast_image_resize::FilterType;
use fusemix_sdk::Error;
use serde::Deserialize;
use std::fmt::{self, Display};

const FILE: &str = "preprocessor_config.json";

/// Mean and standard deviation of RGB from 0 to 1.
pub(crate) type Colours = [[f64; 3]; 2];
pub(crate) const IMAGENET: Colours = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
pub(crate) const HALVES: Colours = [[0.5; 3]; 2];
pub(crate) const CLIP: Colours = [[0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]];

#[derive(Clone)]
pub(crate) struct Recipe {
    /// Height and width that the network reads.
    pub(crate) size: [usize; 2],
    pub(crate) resize: Resize,
    pub(crate) centre: Centre,
    pub(crate) filter: Filter,
    /// RGB from 0 to 255 becomes `(value - mean) / deviation`.
    pub(crate) mean: [f64; 3],
    pub(crate) deviation: [f64; 3],
}

/// What comes before the middle is cut out.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Resize {
    No,
    /// The short side to so many pixels, the long one in proportion.
    Short(u32),
    /// To height and width, whatever they were.
    To([u32; 2]),
    /// Cut first, to the square in the middle: `margin` would be left off if `size + margin` pixels were the short side.
    CropFirst {
        margin: u32,
    },
}

/// The middle of an odd number of pixels.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Centre {
    /// The pixel before it: transformers.
    Floor,
    /// The even one of its neighbours: torchvision.
    Even,
}

/// All but the first are antialiased.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Filter {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

impl Filter {
    /// By Pillow's numbers.
    const ALL: [Self; 6] = [Self::Nearest, Self::Lanczos, Self::Bilinear, Self::Bicubic, Self::Box, Self::Hamming];

    /// None to take the nearest pixel.
    pub(crate) fn convolution(self) -> Option<FilterType> {
        match self {
            Self::Nearest => None,
            Self::Lanczos => Some(FilterType::Lanczos3),
            Self::Bilinear => Some(FilterType::Bilinear),
            Self::Bicubic => Some(FilterType::CatmullRom),
            Self::Box => Some(FilterType::Box),
            Self::Hamming => Some(FilterType::Hamming),
        }
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_lowercase())
    }
}

impl Recipe {
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

/// What becomes of a picture that is cropped.
impl Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { size: [height, width], filter, .. } = self;
        match self.resize {
            Resize::CropFirst { margin } => {
                let side = *width as u32;
                write!(f, "cropped to {side}/{} of the short side, {filter} to {width}x{height}", side + margin)?;
                return f.write_str(" in the order of Pillow 13");
            }
            Resize::No => write!(f, "as large as it is")?,
            Resize::Short(side) => write!(f, "short side {filter} to {side} in the order of Pillow 13")?,
            Resize::To([down, across]) => write!(f, "{filter} to {across}x{down} in the order of Pillow 13")?,
        }
        let centre = if self.centre == Centre::Even { " (torchvision's)" } else { "" };
        write!(f, ", the middle {width}x{height} of it{centre}")
    }
}

/// preprocessor_config.json, as far as it is known.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Preprocessor {
    do_resize: Option<bool>,
    size: Option<Size>,
    resample: Option<usize>,
    do_center_crop: Option<bool>,
    crop_size: Option<Size>,
    /// ConvNeXt's: the short side of the crop, if that is below 384, over that of the picture.
    crop_pct: Option<f64>,
    do_rescale: Option<bool>,
    rescale_factor: Option<f64>,
    /// EfficientNet's: from -1 on.
    rescale_offset: Option<bool>,
    do_normalize: Option<bool>,
    image_mean: Option<Channels>,
    image_std: Option<Channels>,
    /// EfficientNet's: over the deviation once more.
    include_top: Option<bool>,
    image_processor_type: Option<String>,
    /// The same in older files; some have both.
    feature_extractor_type: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Size {
    Side(u32),
    Sides(Sides),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Sides {
    height: Option<u32>,
    width: Option<u32>,
    shortest_edge: Option<u32>,
    longest_edge: Option<u32>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(untagged)]
enum Channels {
    Same(f64),
    Each([f64; 3]),
}

impl Channels {
    fn each(self) -> [f64; 3] {
        match self {
            Self::Same(value) => [value; 3],
            Self::Each(values) => values,
        }
    }
}

impl Preprocessor {
    /// Nothing, if the model has no such file.
    pub(crate) fn read(source: &Source) -> Result<Self, Error> {
        let Some(config) = source.json(FILE)? else { return Ok(Self::default()) };
        let unread = |error| Error::config(format!("{FILE} of `{}`: {error}", source.name()));
        serde_json::from_value(config).map_err(unread)
    }

    /// The middle of a picture whose short side is resized.
    pub(crate) fn cropped(short: u32, crop: u32, resample: usize, colours: Colours) -> Self {
        let size = Size::Sides(Sides { shortest_edge: Some(short), ..Sides::default() });
        let cropped = Some(Size::Side(crop));
        Self {
            size: Some(size),
            do_center_crop: Some(true),
            crop_size: cropped,
            ..Self::squashed(0, resample, colours)
        }
    }

    /// A whole picture, as a square.
    pub(crate) fn squashed(side: u32, resample: usize, colours: Colours) -> Self {
        let [mean, deviation] = colours.map(|channels| Some(Channels::Each(channels)));
        let square = Size::Sides(Sides { height: Some(side), width: Some(side), ..Sides::default() });
        Self { size: Some(square), resample: Some(resample), image_mean: mean, image_std: deviation, ..Self::default() }
    }

    pub(crate) fn convnext(side: u32, colours: Colours) -> Self {
        let short = Size::Sides(Sides { shortest_edge: Some(side), ..Sides::default() });
        Self { size: Some(short), crop_pct: Some(224.0 / 256.0), ..Self::squashed(side, 3, colours) }
    }

    pub(crate) fn efficientnet(side: u32) -> Self {
        let colours = [IMAGENET[0], [0.478_539_44, 0.473_286_4, 0.474_341_63]];
        Self { include_top: Some(true), ..Self::squashed(side, 3, colours) }
    }

    /// What it leaves open is as `usual`.
    pub(crate) fn or(self, usual: Self) -> Self {
        Self {
            do_resize: self.do_resize.or(usual.do_resize),
            size: self.size.or(usual.size),
            resample: self.resample.or(usual.resample),
            do_center_crop: self.do_center_crop.or(usual.do_center_crop),
            crop_size: self.crop_size.or(usual.crop_size),
            crop_pct: self.crop_pct.or(usual.crop_pct),
            do_rescale: self.do_rescale.or(usual.do_rescale),
            rescale_factor: self.rescale_factor.or(usual.rescale_factor),
            rescale_offset: self.rescale_offset.or(usual.rescale_offset),
            do_normalize: self.do_normalize.or(usual.do_normalize),
            image_mean: self.image_mean.or(usual.image_mean),
            image_std: self.image_std.or(usual.image_std),
            include_top: self.include_top.or(usual.include_top),
            image_processor_type: self
                .image_processor_type
                .or(self.feature_extractor_type)
                .or(usual.image_processor_type),
            feature_extractor_type: None,
        }
    }

    /// For the model called `name`.
    pub(crate) fn recipe(&self, name: &str) -> Result<Recipe, Error> {
        let wrong = |what: &str| Error::config(format!("{FILE} of `{name}`: {what}"));
        let number = self.resample.unwrap_or(2);
        let filter = *Filter::ALL.get(number).ok_or_else(|| wrong("`resample` is none of Pillow's 0 to 5"))?;
        let mut resize = match self.do_resize {
            Some(false) => Resize::No,
            _ => self.resize().ok_or_else(|| {
                wrong(
                    "`size` is neither a number, nor `shortest_edge`, nor `height` and `width`; set one of these there",
                )
            })?,
        };
        let crop = match self.do_center_crop {
            Some(true) => Some(square(self.crop_size).ok_or_else(|| wrong("`crop_size` has no height and width"))?),
            _ => None,
        };
        let mut size = crop;
        if let (Some(pct), Resize::Short(side)) = (self.crop_pct, resize) {
            size = size.or(Some([side; 2]));
            resize = match side < 384 {
                true => Resize::Short((f64::from(side) / pct) as u32),
                false => Resize::To([side; 2]),
            };
        }
        let size = match (size, resize) {
            (Some(size), _) | (None, Resize::To(size)) => size,
            _ => return Err(wrong("pictures would keep their shapes; set `do_center_crop` and `crop_size` there")),
        };
        if size.contains(&0) || matches!(resize, Resize::Short(0)) {
            return Err(wrong("a side of 0 pixels"));
        }
        let [mean, deviation] = self.colours();
        Ok(Recipe { size: size.map(|side| side as usize), resize, centre: Centre::Floor, filter, mean, deviation })
    }

    fn resize(&self) -> Option<Resize> {
        let processor = self.image_processor_type.as_deref().unwrap_or_default();
        match self.size? {
            // What a number meant when these were written.
            Size::Side(side)
                if self.crop_pct.is_some() || ["CLIP", "Bit"].iter().any(|kind| processor.starts_with(kind)) =>
            {
                Some(Resize::Short(side))
            }
            Size::Sides(Sides { shortest_edge: Some(side), longest_edge: None, .. }) => Some(Resize::Short(side)),
            size => square(Some(size)).map(Resize::To),
        }
    }

    /// Mean and deviation of values from 0 to 255.
    fn colours(&self) -> Colours {
        let factor = match self.do_rescale {
            Some(false) => 1.0,
            _ => self.rescale_factor.unwrap_or(1.0 / 255.0),
        };
        let offset = if self.rescale_offset == Some(true) { 1.0 } else { 0.0 };
        let std = self.image_std.unwrap_or(Channels::Same(1.0)).each();
        let (mean, mut deviation) = match self.do_normalize {
            Some(false) => ([0.0; 3], [1.0; 3]),
            _ => (self.image_mean.unwrap_or(Channels::Same(0.0)).each(), std),
        };
        if self.include_top == Some(true) {
            deviation.iter_mut().zip(std).for_each(|(deviation, std)| *deviation *= std);
        }
        [mean.map(|mean| (mean + offset) / factor), deviation.map(|deviation| deviation / factor)]
    }
}

/// Height and width.
fn square(size: Option<Size>) -> Option<[u32; 2]> {
    match size? {
        Size::Side(side) => Some([side; 2]),
        Size::Sides(Sides { height: Some(height), width: Some(width), .. }) => Some([height, width]),
        Size::Sides(_) => None,
    }
}
