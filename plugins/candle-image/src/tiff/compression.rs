//! The compressions of TIFF's strips and tiles.

use flate2::read::ZlibDecoder;
use fusemix_sdk::ItemError;
use std::borrow::Cow;
use std::io::Read;
use weezl::{BitOrder, LzwStatus};

use super::header::{Colours, Header};
use super::{cut, damaged, fax, unread};
use crate::jpeg;

pub(super) const JPEG: u16 = 7;
const NONE: u16 = 1;
const FAX: std::ops::RangeInclusive<u16> = 2..=4;
const LZW: u16 = 5;
const DEFLATE: [u16; 2] = [8, 32946];
const PACK_BITS: u16 = 32773;
const ZSTANDARD: u16 = 50000;

/// True of those that may hold differences.
pub(super) fn predicts(method: u16) -> bool {
    method == LZW || method == ZSTANDARD || DEFLATE.contains(&method)
}

/// The first `size` bytes of a chunk of `rows`.
pub(super) fn decompress(data: &[u8], header: &Header<'_>, rows: usize, size: usize) -> Result<Vec<u8>, ItemError> {
    let method = header.compression;
    let data = match header.reversed && method != JPEG {
        true => Cow::Owned(data.iter().map(|byte| byte.reverse_bits()).collect()),
        false => Cow::Borrowed(data),
    };
    let mut bytes = match method {
        NONE => data.into_owned(),
        LZW => lzw(&data, size)?,
        PACK_BITS => pack_bits(&data, size),
        JPEG => joint(&data, header, rows)?,
        _ if FAX.contains(&method) => fax::decompress(&data, header, rows)?,
        _ if DEFLATE.contains(&method) => read(ZlibDecoder::new(&data[..]), size)?,
        ZSTANDARD => read(zstd::Decoder::with_buffer(&data[..]).map_err(|error| damaged(&error.to_string()))?, size)?,
        6 => return Err(unread("its compression is JPEG in TIFF's first form")),
        34925 => return Err(unread("its compression is LZMA")),
        50001 => return Err(unread("its compression is WebP")),
        34887 => return Err(unread("its compression is LERC")),
        33003 | 33005 | 34712 => return Err(unread("its compression is JPEG 2000")),
        other => return Err(unread(&format!("its compression is number {other}"))),
    };
    if bytes.len() < size {
        return Err(cut());
    }
    bytes.truncate(size);
    Ok(bytes)
}

fn read(reader: impl Read, size: usize) -> Result<Vec<u8>, ItemError> {
    let mut bytes = Vec::new();
    match reader.take(size as u64).read_to_end(&mut bytes) {
        // Pillow takes what is there if that is enough.
        Err(error) if bytes.len() < size => Err(damaged(&error.to_string())),
        _ => Ok(bytes),
    }
}

/// Some writers leave the end's code out.
fn lzw(data: &[u8], size: usize) -> Result<Vec<u8>, ItemError> {
    // The first bytes of the form before TIFF 6, whose lowest bits come first, and which switches a code later.
    let old = data.starts_with(&[0]) && data.get(1).is_some_and(|byte| byte & 1 == 1);
    let mut decoder = match old {
        true => weezl::decode::Decoder::new(BitOrder::Lsb, 8),
        false => weezl::decode::Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let (mut bytes, mut rest, mut made) = (vec![0; size], data, 0);
    while made < size {
        let result = decoder.decode_bytes(rest, &mut bytes[made..]);
        rest = &rest[result.consumed_in..];
        made += result.consumed_out;
        match result.status {
            Ok(LzwStatus::Ok) if result.consumed_in + result.consumed_out > 0 => {}
            Ok(_) => break,
            Err(_) => return Err(damaged("its LZW codes are damaged")),
        }
    }
    bytes.truncate(made);
    Ok(bytes)
}

/// Runs: a number, and so many bytes, or one that is repeated.
fn pack_bits(mut data: &[u8], size: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let (Some((&first, rest)), true) = (data.split_first(), bytes.len() < size) {
        let length = match first {
            0..=127 => usize::from(first) + 1,
            128 => 0,
            129..=255 => 1,
        };
        let (own, rest) = rest.split_at(length.min(rest.len()));
        match (first, own.first()) {
            (129..=255, Some(&byte)) => bytes.extend(std::iter::repeat_n(byte, 257 - usize::from(first))),
            _ => bytes.extend(own),
        }
        data = rest;
    }
    bytes
}

/// A JPEG file, whose tables may stand in a tag.
fn joint(data: &[u8], header: &Header<'_>, rows: usize) -> Result<Vec<u8>, ItemError> {
    const MARKER: usize = 2;
    let tables = header.tables.len().checked_sub(MARKER).map(|end| &header.tables[..end]);
    let file = match tables {
        Some(tables) => [tables, data.get(MARKER..).unwrap_or_default()].concat(),
        None => data.to_vec(),
    };
    let picture = jpeg::stored(file, header.colours == Colours::Rgb && header.ycc, (header.chunk[0] * rows) as u64)?;
    let row = header.chunk[0] * header.together();
    if picture.channels != header.together() || picture.width * picture.channels < row || header.bits != 8 {
        return Err(damaged("its JPEG data are not those of its tags"));
    }
    Ok(picture.samples.chunks_exact(picture.width * picture.channels).flat_map(|own| &own[..row]).copied().collect())
}
