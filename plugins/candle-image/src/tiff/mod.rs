//! TIFF as Pillow reads it: strips and tiles, planes apart or together, and samples of up to 16 bits, of which the upper
//! 8 count. What has no black and white of its own is refused by name.

mod chunk;
mod colour;
mod compression;
mod fax;
mod header;
mod ycc;

use fusemix_sdk::ItemError;
use image::DynamicImage;

use crate::refusal::{check_size, undecodable};
use header::Header;

/// The first picture of a file, as stored. `room` are the bytes that a decoder may use.
pub(crate) fn decode(file: &[u8], max_pixels: u64, room: u64) -> Result<DynamicImage, ItemError> {
    let header = Header::read(file)?;
    check_size(header.width, header.height, max_pixels)?;
    header.check_room(room)?;
    colour::picture(&header, chunk::samples(file, &header)?)
}

fn damaged(what: &str) -> ItemError {
    undecodable(format_args!("{what}; if it is whole, convert it to PNG first"))
}

fn unread(what: &str) -> ItemError {
    undecodable(format_args!("{what}, which is not read; convert it to PNG first"))
}

fn cut() -> ItemError {
    undecodable("the file is truncated: it ends within the picture")
}
