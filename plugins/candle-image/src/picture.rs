//! From the bytes of a file to its picture: the first frame, upright and on white.

use fusemix_sdk::ItemError;
use image::{DynamicImage, ImageDecoder, ImageReader, Limits, RgbImage};
use std::fmt::Display;
use std::io::Cursor;

use crate::{isobmff, jpeg, svg};

/// Bytes that a decoder may use for a pixel: 16-bit RGBA and a copy of it.
const BYTES_A_PIXEL: u64 = 16;
/// Bytes that it may use for anything else, such as colour profiles.
const BYTES_BESIDES: u64 = 1 << 26;

/// The size is judged by the header, before anything is allocated for pixels. A drawing gets `short_side` pixels.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64, short_side: u32) -> Result<RgbImage, ItemError> {
    if bytes.is_empty() {
        return Err(ItemError::new("an empty file"));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(undecodable)?;
    if let Some(format) = isobmff::format(bytes) {
        return Err(ItemError::new(format!("the picture is {format}: convert it to JPEG or PNG first")));
    }
    if reader.format().is_none() {
        return match svg::is_svg(bytes) {
            true => svg::draw(bytes, short_side, max_pixels),
            false => Err(ItemError::new("not a picture: neither PNG, JPEG, WebP, GIF, BMP, TIFF nor SVG")),
        };
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(BYTES_BESIDES.saturating_add(max_pixels.saturating_mul(BYTES_A_PIXEL)));
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    if !jpeg::is_whole(bytes) {
        return Err(undecodable("the file ends within the picture"));
    }
    let orientation = decoder.orientation().map_err(undecodable)?;
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    picture.apply_orientation(orientation);
    Ok(on_white(picture))
}

pub(crate) fn check_size(width: u32, height: u32, most: u64) -> Result<(), ItemError> {
    check_pixels(u64::from(width) * u64::from(height), most, &format!("{width}x{height} is")).map(|_| ())
}

/// With another limit it may work, and the limit is not part of the fingerprint.
pub(crate) fn check_pixels(pixels: u64, most: u64, what: &str) -> Result<u64, ItemError> {
    if pixels <= most {
        return Ok(pixels);
    }
    Err(ItemError::transient(format!(
        "{what} {pixels} pixels, more than `max_pixels = {most}`; shrink the picture, or raise the limit in plugins.toml"
    )))
}

pub(crate) fn undecodable(error: impl Display) -> ItemError {
    ItemError::new(format!("the picture does not decode: {}", one_line(error)))
}

/// Some decoders' messages are lists.
pub(crate) fn one_line(error: impl Display) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
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
