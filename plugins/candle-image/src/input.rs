//! From the bytes of a picture to the values that a network reads.

use fast_image_resize::images::{TypedCroppedImage, TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8x3;
use fast_image_resize::{ImageView, ResizeAlg, ResizeOptions, Resizer};
use fusemix_sdk::{Error, ItemError, Options};
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use serde::Deserialize;
use std::fmt::{self, Display};
use std::io::Cursor;
use std::num::NonZeroU64;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::recipe::{Centre, Filter, Recipe, Resize};
use crate::{jpeg, svg};

/// Bytes that a decoder may use for a pixel: 16-bit RGBA and a copy of it.
const BYTES_A_PIXEL: u64 = 16;
/// Bytes that it may use for anything else, such as colour profiles.
const BYTES_BESIDES: u64 = 1 << 26;

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
        // A decoder's fault costs one picture, not its batch.
        let picture = catch_unwind(AssertUnwindSafe(|| self.decode(bytes)));
        let picture = picture.unwrap_or_else(|_| Err(undecodable("its decoder panicked")))?;
        self.see(&picture).map_err(undecodable)
    }

    /// The first frame, upright and on white. The size is judged by the header, before anything is allocated for pixels.
    fn decode(&self, bytes: &[u8]) -> Result<RgbImage, ItemError> {
        let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(undecodable)?;
        match reader.format() {
            None if svg::is_svg(bytes) => return svg::draw(bytes, self.short_side(), |w, h| self.check_size(w, h)),
            None => return Err(ItemError::new("not a picture: neither PNG, JPEG, WebP, GIF, BMP, TIFF nor SVG")),
            Some(ImageFormat::Avif) => {
                return Err(ItemError::new("AVIF and HEIF are not supported; convert the picture to PNG or JPEG"));
            }
            Some(_) => {}
        }
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(BYTES_BESIDES.saturating_add(self.max_pixels.saturating_mul(BYTES_A_PIXEL)));
        reader.limits(limits);
        let mut decoder = reader.into_decoder().map_err(undecodable)?;
        let (width, height) = decoder.dimensions();
        self.check_size(width, height)?;
        if !jpeg::is_whole(bytes) {
            return Err(undecodable("the file ends within the picture"));
        }
        let orientation = decoder.orientation().map_err(undecodable)?;
        let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
        picture.apply_orientation(orientation);
        Ok(on_white(picture))
    }

    fn check_size(&self, width: u32, height: u32) -> Result<(), ItemError> {
        let (pixels, most) = (u64::from(width) * u64::from(height), self.max_pixels);
        if pixels <= most {
            return Ok(());
        }
        // With another limit it may work, and the limit is not part of the fingerprint.
        Err(ItemError::transient(format!(
            "{width}x{height} is {pixels} pixels, more than `max_pixels = {most}`; shrink the picture, \
             or raise the limit in plugins.toml"
        )))
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

/// Of `picture` resized `to` height and width as Pillow does, the part of `size` that begins at row and column `start`.
fn resample(
    picture: &impl ImageView<Pixel = U8x3>,
    to: [u32; 2],
    start: [u32; 2],
    size: [u32; 2],
    filter: Filter,
) -> Result<TypedImage<'static, U8x3>, Failure> {
    let from = [picture.height(), picture.width()];
    let Some(filter) = filter.convolution() else { return nearest(picture, to, start, size) };
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    // Where the part lies in the picture, in one dimension: its start and its length.
    let lies = |dim: usize| {
        let [from, to, start, size] = [from[dim], to[dim], start[dim], size[dim]].map(f64::from);
        let start = from * start / to;
        (start, (from * size / to).min(from - start))
    };
    let ((top, down), (left, across)) = (lies(0), lies(1));
    let [height, width] = from.map(f64::from);
    // The order of Pillow 13: bicubic overshoots, and what does is cut off in between, so the order shows. It also
    // keeps what lies between small, however thin a picture is.
    let [less_down, less_across] = [0, 1].map(|dim| i64::from(from[dim]) - i64::from(to[dim]));
    let down_first = less_down > 0 && less_down > 2 * less_across;
    let (between, first, second) = match down_first {
        true => (
            (from[1], size[0]),
            options.crop(0.0, top, width, down),
            options.crop(left, 0.0, across, f64::from(size[0])),
        ),
        false => (
            (size[1], from[0]),
            options.crop(left, 0.0, across, height),
            options.crop(0.0, top, f64::from(size[1]), down),
        ),
    };
    let (mut between, mut part) = (TypedImage::new(between.0, between.1), TypedImage::new(size[1], size[0]));
    let mut resizer = Resizer::new();
    resizer.resize_typed(picture, &mut between, &first)?;
    resizer.resize_typed(&between, &mut part, &second)?;
    Ok(part)
}

/// [`resample`] by the nearest pixel. Where two are equally near, it shows that Pillow adds up its steps.
fn nearest(
    picture: &impl ImageView<Pixel = U8x3>,
    to: [u32; 2],
    start: [u32; 2],
    size: [u32; 2],
) -> Result<TypedImage<'static, U8x3>, Failure> {
    let places = |from: u32, dim: usize| {
        let step = f64::from(from) / f64::from(to[dim]);
        let all = std::iter::successors(Some(step * 0.5), move |at| Some(at + step)).map(|at| at as usize);
        let (start, size) = (start[dim] as usize, size[dim] as usize);
        all.skip(start).take(size).map(|at| at.min(from as usize - 1)).collect::<Vec<_>>()
    };
    let columns = places(picture.width(), 1);
    let rows: Vec<&[U8x3]> = picture.iter_rows(0).collect();
    let pixels =
        places(picture.height(), 0).into_iter().flat_map(|row| columns.iter().map(move |&column| (row, column)));
    let pixels = pixels.map(|(row, column)| rows[row][column]).collect();
    Ok(TypedImage::from_pixels(size[1], size[0], pixels)?)
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
