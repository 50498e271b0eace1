//! Conversion of a picture's bytes to the values that a network reads.

use candle_kit::guarded;
use fusemix_sdk::{Error, ItemError, Options};
use image::RgbImage;
use serde::Deserialize;
use std::fmt::{self, Display};
use std::num::NonZeroU64;

use crate::picture::decode;
use crate::preprocessing::{Centre, Preprocessing, Resize};
use crate::resample::resample;

/// The treatment of a picture that does not have the network's shape.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fit {
    /// The published preprocessing, which mostly cuts out the middle.
    Crop,
    /// All of it, its sides squashed to the network's.
    Whole,
}

impl Fit {
    pub(crate) const NAMES: [&str; 2] = ["crop", "whole"];
}

pub(crate) struct Input {
    preprocessing: Preprocessing,
    fit: Fit,
    max_pixels: u64,
    /// The mapping of each of 256 values of each channel.
    values: [[f32; 256]; 3],
}

impl Input {
    pub(crate) fn new(preprocessing: Preprocessing, options: &Options) -> Result<Self, Error> {
        let fit = options.get_or("fit", Fit::Crop)?;
        let max_pixels = options.get("max_pixels")?.map_or(100_000_000, NonZeroU64::get);
        let value =
            |c: usize, value: usize| ((value as f64 - preprocessing.mean[c]) / preprocessing.deviation[c]) as f32;
        let values = std::array::from_fn(|c| std::array::from_fn(|of| value(c, of)));
        Ok(Self { preprocessing, fit, max_pixels, values })
    }

    /// Height and width that the network reads.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.preprocessing.size
    }

    /// The picture as `height x width x 3` values, rows from the top, RGB.
    pub(crate) fn pixels(&self, bytes: &[u8]) -> Result<Vec<f32>, ItemError> {
        guarded("decoding it", || Ok(self.see(&decode(bytes, self.max_pixels, self.short_side())?)))
    }

    /// Pixels that the short side of a drawing gets.
    fn short_side(&self) -> u32 {
        let [height, width] = self.preprocessing.size.map(|side| side as u32);
        match (self.fit, self.preprocessing.resize) {
            (Fit::Crop, Resize::Short(side)) => side,
            (Fit::Crop, Resize::To([down, across])) => down.max(across),
            (Fit::Crop, Resize::CropFirst { margin }) => height.max(width) + margin,
            (Fit::Crop, Resize::No) | (Fit::Whole, _) => height.max(width),
        }
    }

    /// The network's input for a picture.
    fn see(&self, picture: &RgbImage) -> Vec<f32> {
        let Preprocessing { size, filter, .. } = self.preprocessing;
        let [width, height] = [picture.width(), picture.height()].map(|side| side as usize);
        let rows: Vec<&[u8]> = picture.as_raw().chunks_exact(width * 3).collect();
        let to = match (self.fit, self.preprocessing.resize) {
            (Fit::Crop, Resize::CropFirst { margin }) => {
                let short = width.min(height);
                let side = 1.max(short * size[1] / (size[1] + margin as usize));
                let (left, top) = ((width - side).div_ceil(2), (height - side).div_ceil(2));
                let middle: Vec<&[u8]> =
                    rows[top..top + side].iter().map(|row| &row[left * 3..(left + side) * 3]).collect();
                return self.values(&resample(&middle, size, [0, 0], size, filter), size, [0, 0]);
            }
            (Fit::Whole, _) => size,
            (Fit::Crop, Resize::To(to)) => to.map(|side| side as usize),
            (Fit::Crop, Resize::No) => [height, width],
            (Fit::Crop, Resize::Short(short)) => {
                let short = short as usize;
                let long = |long: usize, other: usize| (short as f64 * long as f64 / other as f64) as usize;
                match width <= height {
                    true => [long(height, width), short],
                    false => [short, long(width, height)],
                }
            }
        };
        // Of each dimension: where the middle begins, and what there is of it; black around it if it is too small.
        let middle = |dim: usize| match to[dim].checked_sub(size[dim]) {
            Some(rest) if self.preprocessing.centre == Centre::Even => (rest as f64 / 2.0).round_ties_even() as usize,
            Some(rest) => rest / 2,
            None => 0,
        };
        let seen = [size[0].min(to[0]), size[1].min(to[1])];
        let before = [0, 1].map(|dim| (size[dim] - seen[dim]).div_ceil(2));
        self.values(&resample(&rows, to, [middle(0), middle(1)], seen, filter), seen, before)
    }

    /// Pixels as the network reads them.
    pub(crate) fn normalised(&self, rgb: impl Iterator<Item = [u8; 3]>) -> Vec<f32> {
        let [height, width] = self.preprocessing.size;
        let mut values = Vec::with_capacity(height * width * 3);
        for pixel in rgb {
            values.extend(std::array::from_fn::<_, 3, _>(|c| self.values[c][usize::from(pixel[c])]));
        }
        values
    }

    /// `rgb`, of `seen` height and width, padded with `before` rows and columns at the top and at the left, and
    /// normalised.
    fn values(&self, rgb: &[u8], seen: [usize; 2], before: [usize; 2]) -> Vec<f32> {
        let (pixels, _) = rgb.as_chunks::<3>();
        let [height, width] = self.preprocessing.size;
        if seen == [height, width] {
            return self.normalised(pixels.iter().copied());
        }
        let black = self.values.map(|values| values[0]);
        let mut all = Vec::with_capacity(height * width * 3);
        (0..height * width).for_each(|_| all.extend(black));
        for (row, pixels) in pixels.chunks_exact(seen[1]).enumerate() {
            let start = ((before[0] + row) * width + before[1]) * 3;
            for (to, pixel) in all[start..].chunks_exact_mut(3).zip(pixels) {
                (0..3).for_each(|c| to[c] = self.values[c][usize::from(pixel[c])]);
            }
        }
        all
    }
}

/// The fingerprint of an input, which must change with [`Input::pixels`].
impl Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Preprocessing { size: [height, width], filter, mean, deviation, .. } = &self.preprocessing;
        f.write_str("as Pillow 13 reads it, TIFF too, on its whole canvas, and turns it, on white, ")?;
        match self.fit {
            Fit::Crop => write!(f, "{}", self.preprocessing)?,
            Fit::Whole => write!(f, "whole, {filter} to {width}x{height} as Pillow 13 does")?,
        }
        write!(f, ", minus {mean:?} over {deviation:?}")
    }
}
