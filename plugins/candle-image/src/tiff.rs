//! TIFF in the forms that the general decoder lacks, as Pillow reads them: palettes, few bits, alpha beside grey, and
//! YCbCr. What has no black and white of its own is refused by name.

use fusemix_sdk::ItemError;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use std::borrow::Cow;
use std::io::Cursor;
use tiff::ColorType;
use tiff::decoder::{Decoder, DecodingResult, Limits};

use crate::orientation::Directory;
use crate::refusal::{check_size, undecodable};

const PHOTOMETRIC: u16 = 262;
const PALETTE: u16 = 320;
const SAMPLE_FORMAT: u16 = 339;
/// Values of the photometric interpretation.
const BLACK_IS_ZERO: u64 = 1;
const OF_PALETTE: u64 = 3;

/// The picture as stored; `None` if the general decoder reads it. `room` are the bytes that a decoder may use.
pub(crate) fn decode(file: &[u8], max_pixels: u64, room: u64) -> Result<Option<DynamicImage>, ItemError> {
    let Some(directory) = Directory::first(file) else { return Ok(None) };
    let number = |tag: u16| directory.value(tag).map(|(_, value)| directory.unsigned(&value[..value.len().min(2)]));
    let of_palette = number(PHOTOMETRIC) == Some(OF_PALETTE);
    // The decoder refuses palettes: their indices are read as shades.
    let read = if of_palette { Cow::Owned(with_shades(file, &directory)) } else { Cow::Borrowed(file) };
    let mut limits = Limits::default();
    let room = usize::try_from(room).unwrap_or(usize::MAX);
    (limits.decoding_buffer_size, limits.intermediate_buffer_size) = (room, room);
    let mut decoder = Decoder::new(Cursor::new(&read[..])).map_err(unread)?.with_limits(limits);
    let (width, height) = decoder.dimensions().map_err(unread)?;
    check_size(width, height, max_pixels)?;
    let kind = decoder.colortype().map_err(unread)?;
    let format = number(SAMPLE_FORMAT).unwrap_or(1);
    if let Some(samples) = without_range(kind, format) {
        return Err(ItemError::new(format!(
            "the picture's samples are {samples}, and nothing says which are black and white: convert it to a PNG or \
             TIFF of 8 bits first"
        )));
    }
    let bytes = match kind {
        ColorType::Gray(1) if !of_palette => return Ok(None),
        ColorType::Gray(1..=8) | ColorType::YCbCr(8) | ColorType::Multiband { bit_depth: 8, num_samples: 2 } => {
            match decoder.read_image().map_err(unread)? {
                DecodingResult::U8(bytes) => bytes,
                _ => return Ok(None),
            }
        }
        ColorType::Multiband { bit_depth: 16, num_samples: 2 } => match decoder.read_image().map_err(unread)? {
            DecodingResult::U16(values) => values.into_iter().map(|value| (value >> 8) as u8).collect(),
            _ => return Ok(None),
        },
        _ => return Ok(None),
    };
    let pixels = width as usize * height as usize;
    let picture = match kind {
        ColorType::Gray(bits) => {
            let mut values = unpacked(&bytes, width as usize, bits);
            match directory.value(PALETTE).filter(|_| of_palette) {
                Some((_, palette)) => {
                    let colour = colours(&directory, palette);
                    rgb(width, height, values.iter().map(|&index| colour(index)))
                }
                None if bits < 8 => {
                    let most = (1u16 << bits) - 1;
                    values.iter_mut().for_each(|value| *value = (u16::from(*value) * 255 / most) as u8);
                    GrayImage::from_raw(width, height, values).map(Into::into)
                }
                None => return Ok(None),
            }
        }
        ColorType::YCbCr(_) => rgb(width, height, bytes.as_chunks::<3>().0.iter().map(|&ycc| of_ycc(ycc))),
        _ => match directory.value(PALETTE).filter(|_| of_palette) {
            Some((_, palette)) => {
                let colour = colours(&directory, palette);
                let pixel = |&[index, alpha]: &[u8; 2]| {
                    let [r, g, b] = colour(index);
                    [r, g, b, alpha]
                };
                let values: Vec<u8> = bytes.as_chunks::<2>().0.iter().flat_map(pixel).collect();
                RgbaImage::from_raw(width, height, values).map(Into::into)
            }
            None => GrayAlphaImage::from_raw(width, height, bytes).map(Into::into),
        },
    };
    picture.map(Some).ok_or_else(|| undecodable(format!("it has fewer than {pixels} pixels")))
}

/// `file` with a palette's indices as shades.
fn with_shades(file: &[u8], directory: &Directory<'_>) -> Vec<u8> {
    let mut file = file.to_vec();
    if let Some(place) = directory.place(PHOTOMETRIC) {
        let shades = BLACK_IS_ZERO as u16;
        let bytes = if directory.big_endian { shades.to_be_bytes() } else { shades.to_le_bytes() };
        file[place..place + 2].copy_from_slice(&bytes);
    }
    file
}

/// The name of samples whose range nothing says.
fn without_range(kind: ColorType, format: u64) -> Option<String> {
    let bits = match kind {
        ColorType::Gray(bits) | ColorType::Multiband { bit_depth: bits, .. } => bits,
        _ => return None,
    };
    match format {
        3 => Some(format!("floating-point numbers of {bits} bits")),
        2 => Some(format!("signed whole numbers of {bits} bits")),
        _ if bits > 16 => Some(format!("whole numbers of {bits} bits")),
        _ => None,
    }
}

/// The values of rows that begin with a byte each, the highest bits first.
fn unpacked(bytes: &[u8], width: usize, bits: u8) -> Vec<u8> {
    let bits = usize::from(bits);
    if bits == 8 {
        return bytes.to_vec();
    }
    let row = (width * bits).div_ceil(8).max(1);
    let value = |row: &[u8], at: usize| {
        let start = at * bits;
        let two = u16::from(row[start / 8]) << 8 | u16::from(row.get(start / 8 + 1).copied().unwrap_or(0));
        (two >> (16 - bits - start % 8)) as u8 & ((1u16 << bits) - 1) as u8
    };
    bytes.chunks_exact(row).flat_map(|row| (0..width).map(move |at| value(row, at))).collect()
}

/// The colours of a palette: all values of red, of green, of blue, of which the upper 8 of 16 bits count.
fn colours<'a>(directory: &'a Directory<'_>, palette: &'a [u8]) -> impl Fn(u8) -> [u8; 3] + 'a {
    let values: Vec<u8> =
        palette.as_chunks::<2>().0.iter().map(|value| (directory.unsigned(value) >> 8) as u8).collect();
    let each = values.len() / 3;
    move |index| {
        let part = |of: usize| if usize::from(index) < each { values[of * each + usize::from(index)] } else { 0 };
        [part(0), part(1), part(2)]
    }
}

fn rgb(width: u32, height: u32, pixels: impl Iterator<Item = [u8; 3]>) -> Option<DynamicImage> {
    RgbImage::from_raw(width, height, pixels.flatten().collect()).map(Into::into)
}

/// The colour of brightness and two differences, as JFIF has it.
fn of_ycc([y, cb, cr]: [u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    let round = |value: f32| value.round().clamp(0.0, 255.0) as u8;
    [round(y + 1.402 * cr), round(y - 0.344_136 * cb - 0.714_136 * cr), round(y + 1.772 * cb)]
}

fn unread(error: impl std::fmt::Display) -> ItemError {
    undecodable(format_args!("{error}; if it is whole, convert it to PNG first"))
}
