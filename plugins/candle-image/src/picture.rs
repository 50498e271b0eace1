//! Decoding of a file to its picture: the first frame, upright and on white.

use fusemix_sdk::ItemError;
use image::{DynamicImage, ImageBuffer, ImageDecoder, ImageFormat, ImageReader, Limits, Pixel, RgbImage};
use std::io::Cursor;

use crate::orientation::Notes;
use crate::refusal::{check_size, undecodable};
use crate::{gif, isobmff, jpeg, png, svg, tiff};

/// Bytes that a decoder may use for a pixel: 16-bit RGBA and a copy of it.
const BYTES_A_PIXEL: u64 = 16;
/// Bytes that it may use for anything else, such as colour profiles.
const BYTES_BESIDES: u64 = 1 << 26;

/// Decodes a picture. Its size is checked by the header, before pixels are allocated. A drawing gets `short_side`
/// pixels.
pub(crate) fn decode(bytes: &[u8], max_pixels: u64, short_side: u32) -> Result<RgbImage, ItemError> {
    if bytes.is_empty() {
        return Err(ItemError::new("an empty file"));
    }
    let mut reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format().map_err(undecodable)?;
    if let Some(format) = isobmff::format(bytes) {
        return Err(ItemError::new(format!("the picture is {format}: convert it to JPEG or PNG first")));
    }
    // Its larger form has another number at its beginning.
    if bytes.starts_with(b"II\x2b\0") || bytes.starts_with(b"MM\0\x2b") {
        reader.set_format(ImageFormat::Tiff);
    }
    let format = reader.format();
    match format {
        Some(ImageFormat::Jpeg) => return Ok(on_white(jpeg::decode(bytes, max_pixels)?)),
        Some(ImageFormat::Gif) => return Ok(on_white(gif::decode(bytes, max_pixels)?)),
        Some(_) => {}
        None if svg::is_svg(bytes) => return svg::draw(bytes, short_side, max_pixels),
        None => return Err(ItemError::new("not a picture: neither PNG, JPEG, WebP, GIF, BMP, TIFF nor SVG")),
    }
    let room = BYTES_BESIDES.saturating_add(max_pixels.saturating_mul(BYTES_A_PIXEL));
    if format == Some(ImageFormat::Tiff) {
        let mut picture = tiff::decode(bytes, max_pixels, room)?;
        picture.apply_orientation(Notes::of_tiff(bytes).orientation());
        return Ok(on_white(picture));
    }
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(room);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(undecodable)?;
    let (width, height) = decoder.dimensions();
    check_size(width, height, max_pixels)?;
    let notes = match format {
        Some(ImageFormat::Png) => png::notes(bytes),
        // Of others only WebP has any. What cannot be read says nothing.
        _ => Notes {
            exif: decoder.exif_metadata().ok().flatten().map(Into::into),
            xmp: decoder.xmp_metadata().ok().flatten().map(Into::into),
        },
    };
    let orientation = notes.orientation();
    let mut picture = DynamicImage::from_decoder(decoder).map_err(undecodable)?;
    picture.apply_orientation(orientation);
    Ok(on_white(to_eight_bits(picture)))
}

/// The upper 8 of 16 bits, as Pillow reads colours. (In grey pictures, of PNG and of TIFF, Pillow turns everything above
/// 255 of 65,535 white, which leaves nothing to see.)
fn to_eight_bits(picture: DynamicImage) -> DynamicImage {
    fn upper<P: Pixel<Subpixel = u16>, Q: Pixel<Subpixel = u8>>(
        picture: &ImageBuffer<P, Vec<u16>>,
    ) -> ImageBuffer<Q, Vec<u8>> {
        let bytes = picture.as_raw().iter().map(|value| (value >> 8) as u8).collect();
        ImageBuffer::from_raw(picture.width(), picture.height(), bytes).expect("as many values a pixel")
    }
    match picture {
        DynamicImage::ImageLuma16(picture) => DynamicImage::ImageLuma8(upper(&picture)),
        DynamicImage::ImageLumaA16(picture) => DynamicImage::ImageLumaA8(upper(&picture)),
        DynamicImage::ImageRgb16(picture) => DynamicImage::ImageRgb8(upper(&picture)),
        DynamicImage::ImageRgba16(picture) => DynamicImage::ImageRgba8(upper(&picture)),
        other => other,
    }
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
