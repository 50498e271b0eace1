//! From the bytes of a picture to the values that a network reads.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use fusemix_sdk::{Error, ItemError, Options};
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};
use serde::Deserialize;
use std::fmt::{self, Display};
use std::io::Cursor;
use std::num::NonZeroU64;

use crate::jpeg;

/// Bytes that a decoder may use for a pixel: 16-bit RGBA and a copy of it.
const BYTES_A_PIXEL: u64 = 16;
/// Bytes that it may use for anything else, such as colour profiles.
const BYTES_BESIDES: u64 = 1 << 26;

/// How a network wants its pictures: bicubic, antialiased, 8 bits a channel.
#[derive(Clone, Copy)]
pub(crate) struct Recipe {
    /// Pixels of each side.
    pub(crate) size: u32,
    /// What a crop leaves off, if `size + margin` pixels were the short side of the picture.
    pub(crate) margin: u32,
    /// RGB from 0 to 255 becomes `(value - mean) / deviation`.
    pub(crate) mean: [f32; 3],
    pub(crate) deviation: [f32; 3],
}

/// What becomes of a picture that is no square.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fit {
    /// The square in its middle, without the margin: the published evaluation.
    Crop,
    /// All of it, its sides squashed to the same length.
    Whole,
}

impl Fit {
    pub(crate) const NAMES: [&str; 2] = ["crop", "whole"];
}

pub(crate) struct Input {
    recipe: Recipe,
    fit: Fit,
    max_pixels: u64,
}

impl Input {
    pub(crate) fn new(recipe: Recipe, options: &Options) -> Result<Self, Error> {
        let fit = options.get_or("fit", Fit::Crop)?;
        let max_pixels = options.get("max_pixels")?.map_or(100_000_000, NonZeroU64::get);
        Ok(Self { recipe, fit, max_pixels })
    }

    /// Pixels of each side that the network reads.
    pub(crate) fn size(&self) -> usize {
        self.recipe.size as usize
    }

    /// The picture as `size x size x 3` values, rows from the top, RGB.
    pub(crate) fn pixels(&self, bytes: &[u8]) -> Result<Vec<f32>, ItemError> {
        let picture = on_white(self.decode(bytes)?);
        let picture = self.resize(&picture).map_err(undecodable)?;
        let Recipe { mean, deviation, .. } = self.recipe;
        let value = |rgb: [u8; 3]| std::array::from_fn::<_, 3, _>(|c| (f32::from(rgb[c]) - mean[c]) / deviation[c]);
        Ok(picture.pixels().iter().flat_map(|pixel| value(pixel.0)).collect())
    }

    /// The first frame, upright. The size is judged by the header, before anything is allocated for pixels.
    fn decode(&self, bytes: &[u8]) -> Result<DynamicImage, ItemError> {
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(undecodable)?;
        if reader.format().is_none() {
            return Err(ItemError::new("not a picture: neither PNG, JPEG, WebP nor GIF"));
        }
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(BYTES_BESIDES.saturating_add(self.max_pixels.saturating_mul(BYTES_A_PIXEL)));
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(undecodable)?;
        let (width, height) = decoder.dimensions();
        let (pixels, most) = (u64::from(width) * u64::from(height), self.max_pixels);
        if pixels > most {
            // With another limit it may work, and the limit is not part of the fingerprint.
            return Err(ItemError::transient(format!(
                "{width}x{height} is {pixels} pixels, more than `max_pixels = {most}`; shrink the picture, \
                 or raise the limit in plugins.toml"
            )));
        }
        if !jpeg::is_whole(bytes) {
            return Err(undecodable("the file ends within the picture"));
        }
        let orientation = decoder.orientation().map_err(undecodable)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
        picture.apply_orientation(orientation);
        Ok(picture)
    }

    /// As Pillow crops and resizes.
    fn resize(&self, picture: &RgbImage) -> Result<TypedImage<'static, U8x3>, Box<dyn std::error::Error>> {
        let Recipe { size, margin, .. } = self.recipe;
        let (width, height) = picture.dimensions();
        let (across, down) = match self.fit {
            Fit::Whole => (width, height),
            Fit::Crop => {
                let side = u64::from(width.min(height)) * u64::from(size) / u64::from(size + margin);
                (1.max(side as u32), 1.max(side as u32))
            }
        };
        let (left, top) = ((width - across).div_ceil(2), (height - down).div_ceil(2));
        let whole = TypedImageRef::<U8x3>::from_buffer(width, height, picture.as_raw())?;
        let from = TypedCroppedImage::new(whole, left, top, across, down)?;
        let bicubic = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom));
        // The order of Pillow 13: bicubic overshoots, and what does is cut off in between, so the order shows. It also
        // keeps what lies between small, however thin a picture is.
        let down_first = down > size && u64::from(down) + u64::from(size) > 2 * u64::from(across);
        let (width, height) = if down_first { (across, size) } else { (size, down) };
        let (mut between, mut to) = (TypedImage::new(width, height), TypedImage::new(size, size));
        let mut resizer = Resizer::new();
        resizer.resize_typed(&from, &mut between, &bicubic)?;
        resizer.resize_typed(&between, &mut to, &bicubic)?;
        Ok(to)
    }
}

/// What tells inputs apart; a change of what [`Input::pixels`] does is a change of this.
impl Display for Input {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Recipe { size, margin, mean, deviation } = self.recipe;
        match self.fit {
            Fit::Crop => write!(f, "on white, cropped to {size}/{} of the short side", size + margin)?,
            Fit::Whole => write!(f, "on white, whole")?,
        }
        write!(f, ", bicubic to {size}x{size} in the order of Pillow 13, minus {mean:?} over {deviation:?}")
    }
}

fn undecodable(error: impl Display) -> ItemError {
    ItemError::new(format!("the picture does not decode: {error}"))
}

fn on_white(picture: DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.into_rgb8();
    }
    let over = |value: u8, alpha: u8| {
        let (value, alpha) = (u32::from(value), u32::from(alpha));
        ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
    };
    let picture = picture.into_rgba8();
    let mut rgb = RgbImage::new(picture.width(), picture.height());
    for (to, from) in rgb.pixels_mut().zip(picture.pixels()) {
        let [r, g, b, alpha] = from.0;
        to.0 = [r, g, b].map(|value| over(value, alpha));
    }
    rgb
}
