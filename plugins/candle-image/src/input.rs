//! From the bytes of a picture to the values that a network reads.

use fast_image_resize::ImageView;
use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fusemix_sdk::{Error, ItemError, Options};
use image::RgbImage;
use serde::Deserialize;
use std::fmt::{self, Display};
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::picture::{decode, undecodable};
use crate::recipe::{Centre, Recipe, Resize};
use crate::resample::resample;

/// What becomes of a picture that does not have the network's shape.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fit {
    /// What the network's authors do with it: most cut out its middle.
    Crop,
    /// All of it, its sides squashed to the network's.
    Whole,
}

impl Fit {
    pub(crate) const NAMES: [&str; 2] = ["crop", "whole"];
}

pub(crate) struct Input {
    recipe: Recipe,
    fit: Fit,
    max_pixels: u64,
    /// What becomes of each of 256 values of each channel.
    values: [[f32; 256]; 3],
}

type Failure = Box<dyn std::error::Error>;

impl Input {
    pub(crate) fn new(recipe: Recipe, options: &Options) -> Result<Self, Error> {
        let fit = options.get_or("fit", Fit::Crop)?;
        let max_pixels = options.get("max_pixels")?.map_or(100_000_000, NonZeroU64::get);
        let value = |c: usize, value: usize| ((value as f64 - recipe.mean[c]) / recipe.deviation[c]) as f32;
        let values = std::array::from_fn(|c| std::array::from_fn(|of| value(c, of)));
        Ok(Self { recipe, fit, max_pixels, values })
    }

    /// Height and width that the network reads.
    pub(crate) fn size(&self) -> [usize; 2] {
        self.recipe.size
    }

    /// The picture as `height x width x 3` values, rows from the top, RGB.
    pub(crate) fn pixels(&self, bytes: &[u8]) -> Result<Vec<f32>, ItemError> {
        let pixels = || self.see(&decode(bytes, self.max_pixels, self.short_side())?).map_err(undecodable);
        // A decoder's or a resizer's fault costs one picture, not its batch.
        catch_unwind(AssertUnwindSafe(pixels)).unwrap_or_else(|_| Err(undecodable("its decoder panicked")))
    }

    /// Pixels that the short side of a drawing gets.
    fn short_side(&self) -> u32 {
        let [height, width] = self.recipe.size.map(|side| side as u32);
        match (self.fit, self.recipe.resize) {
            (Fit::Crop, Resize::Short(side)) => side,
            (Fit::Crop, Resize::To([down, across])) => down.max(across),
            (Fit::Crop, Resize::CropFirst { margin }) => height.max(width) + margin,
            (Fit::Crop, Resize::No) | (Fit::Whole, _) => height.max(width),
        }
    }

    /// What the network reads of a picture.
    fn see(&self, picture: &RgbImage) -> Result<Vec<f32>, Failure> {
        let Recipe { size, filter, .. } = self.recipe;
        let size = size.map(|side| side as u32);
        let (width, height) = picture.dimensions();
        let whole = TypedImageRef::<U8x3>::from_buffer(width, height, picture.as_raw())?;
        let to = match (self.fit, self.recipe.resize) {
            (Fit::Crop, Resize::CropFirst { margin }) => {
                let [side, short] = [size[1], width.min(height)].map(u64::from);
                let side = 1.max((short * side / (side + u64::from(margin))) as u32);
                let (left, top) = ((width - side).div_ceil(2), (height - side).div_ceil(2));
                let middle = TypedCroppedImage::new(whole, left, top, side, side)?;
                return self.values(&resample(&middle, size, [0, 0], size, filter)?, [0, 0]);
            }
            (Fit::Whole, _) => size,
            (Fit::Crop, Resize::To(to)) => to,
            (Fit::Crop, Resize::No) => [height, width],
            (Fit::Crop, Resize::Short(short)) => {
                let long = |long: u32, other: u32| (f64::from(short) * f64::from(long) / f64::from(other)) as u32;
                match width <= height {
                    true => [long(height, width), short],
                    false => [short, long(width, height)],
                }
            }
        };
        // Of each dimension: where the middle begins, and what there is of it; black around it if it is too small.
        let middle = |dim: usize| match to[dim].checked_sub(size[dim]) {
            Some(rest) if self.recipe.centre == Centre::Even => (f64::from(rest) / 2.0).round_ties_even() as u32,
            Some(rest) => rest / 2,
            None => 0,
        };
        let seen = [size[0].min(to[0]), size[1].min(to[1])];
        let before = [0, 1].map(|dim| (size[dim] - seen[dim]).div_ceil(2) as usize);
        self.values(&resample(&whole, to, [middle(0), middle(1)], seen, filter)?, before)
    }

    /// Pixels as the network reads them.
    pub(crate) fn normalised(&self, rgb: impl Iterator<Item = [u8; 3]>) -> Vec<f32> {
        let [height, width] = self.recipe.size;
        let mut values = Vec::with_capacity(height * width * 3);
        for pixel in rgb {
            values.extend(std::array::from_fn::<_, 3, _>(|c| self.values[c][usize::from(pixel[c])]));
        }
        values
    }

    /// `seen` with what is missing around it, `before` at the top and at the left, normalised.
    fn values(&self, seen: &TypedImage<'_, U8x3>, before: [usize; 2]) -> Result<Vec<f32>, Failure> {
        let [height, width] = self.recipe.size;
        if [seen.height() as usize, seen.width() as usize] == [height, width] {
            return Ok(self.normalised(seen.pixels().iter().map(|pixel| pixel.0)));
        }
        let black = self.values.map(|values| values[0]);
        let mut all = Vec::with_capacity(height * width * 3);
        (0..height * width).for_each(|_| all.extend(black));
        for (row, pixels) in seen.pixels().chunks_exact(seen.width() as usize).enumerate() {
            let start = ((before[0] + row) * width + before[1]) * 3;
            for (to, pixel) in all[start..].chunks_exact_mut(3).zip(pixels) {
                (0..3).for_each(|c| to[c] = self.values[c][usize::from(pixel.0[c])]);
            }
        }
        Ok(all)
    }
}

/// What tells inputs apart; a change of what [`Input::pixels`] does is a change of this.
impl Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recipe { size: [height, width], filter, mean, deviation, .. } = &self.recipe;
        match self.fit {
            Fit::Crop => write!(f, "on white, {}", self.recipe)?,
            Fit::Whole => write!(f, "on white, whole, {filter} to {width}x{height} in the order of Pillow 13")?,
        }
        write!(f, ", minus {mean:?} over {deviation:?}")
    }
}
