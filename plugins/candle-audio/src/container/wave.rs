//! WAV files and their kin (RIFX, whose numbers have the highest byte first; the larger RF64, BW64 and Sony's Wave64),
//! read as libsndfile and FFmpeg read them: by their chunks, up to the file's end, whatever the header says of the
//! whole.

use fusemix_sdk::ItemError;

use super::blocks::{Blocks, Coding, Order, Pcm, extent};
use super::codec::{self, unsupported};
use super::{Content, array};
use crate::decode::{cut, undecodable};

/// The end of the identifiers of Wave64's chunks, of which `riff` and `wave` have others.
const WAVE64: &[u8] = b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";
/// The end of the identifiers of an extensible format, behind the tag.
const SUBFORMAT: [&[u8]; 2] =
    [b"\0\0\0\0\x10\0\x80\0\0\xaa\0\x38\x9b\x71", b"\0\0\x21\x07\xd3\x11\x86\x44\xc8\xc1\xca\0\0\0"];
const EXTENSIBLE: u16 = 0xfffe;
/// Layer I or II, Layer III, AAC in ADTS (three tags): files of their own in a chunk.
const STREAMS: [u16; 5] = [0x50, 0x55, 0xff, 0x1600, 0x706d];

/// What a `fmt ` chunk says.
struct Format {
    order: Order,
    tag: u16,
    channels: u16,
    rate: u32,
    /// Bytes of a block, and bits of a sample.
    block: u16,
    bits: u16,
}

/// The content of a file that begins as one of these does.
pub(crate) fn read(file: &[u8]) -> Option<Result<Content<'_>, ItemError>> {
    let read = match (file.get(..4)?, file.get(8..12)?) {
        (b"RIFF" | b"RF64" | b"BW64", b"WAVE") => chunks(file, Order::Little),
        (b"RIFX", b"WAVE") => chunks(file, Order::Big),
        (b"riff", _) if file.get(24..28)? == b"wave" && file.get(28..40)? == WAVE64 => chunks64(file),
        _ => return None,
    };
    Some(read.and_then(|(format, data)| content(&format, data)))
}

/// The format and the data of a file whose chunks have a name of four bytes and a size of 32 bits.
fn chunks(file: &[u8], order: Order) -> Result<(Format, &[u8]), ItemError> {
    let (mut at, mut format, mut size64) = (12, None, None);
    while let Some((name, size)) = header(file, at, order) {
        let start = at + 8;
        let body = &file[start..];
        match &name {
            b"fmt " => format = Some(Format::read(body.get(..size as usize).ok_or_else(cut)?, order)?),
            // The sizes of the whole and of the data.
            b"ds64" => size64 = array(body, 8).map(u64::from_le_bytes),
            b"data" => {
                let size = size64.filter(|_| size == u32::MAX).unwrap_or(size.into());
                return Ok((format.ok_or_else(no_format)?, extent(body, size, start)?));
            }
            _ => {}
        }
        at = start + size as usize;
        // Some writers leave the byte out that a chunk of an odd size ends with.
        if size % 2 == 1 && !header(file, at, order).is_some_and(|(name, _)| is_name(name)) {
            at += 1;
        }
    }
    Err(no_data(file, at))
}

/// The same of Wave64, whose chunks have a name of 16 bytes, and a size of 64 bits that counts its own header.
fn chunks64(file: &[u8]) -> Result<(Format, &[u8]), ItemError> {
    const HEADER: u64 = 24;
    let (mut at, mut format) = (40, None);
    while let (Some(name), Some(size)) = (array::<4>(file, at), array(file, at + 16).map(u64::from_le_bytes)) {
        let start = at + HEADER as usize;
        let body = file.get(start..).unwrap_or_default();
        let inside = size.saturating_sub(HEADER);
        match &name {
            b"fmt " => format = Some(Format::read(body.get(..inside as usize).ok_or_else(cut)?, Order::Little)?),
            b"data" => return Ok((format.ok_or_else(no_format)?, extent(body, inside, start)?)),
            _ => {}
        }
        at = usize::try_from(size.max(HEADER).next_multiple_of(8))
            .ok()
            .and_then(|size| at.checked_add(size))
            .ok_or_else(|| no_data(file, usize::MAX))?;
    }
    Err(no_data(file, at))
}

/// The name and the size of the chunk at `at`.
fn header(file: &[u8], at: usize, order: Order) -> Option<([u8; 4], u32)> {
    Some((array(file, at)?, order.u32(array(file, at.checked_add(4)?)?)))
}

/// True of the names that are in use before and behind the data.
fn is_name(name: [u8; 4]) -> bool {
    const NAMES: [&[u8; 4]; 13] = [
        b"fmt ", b"data", b"LIST", b"fact", b"PEAK", b"bext", b"cue ", b"JUNK", b"id3 ", b"ID3 ", b"iXML", b"smpl",
        b"PAD ",
    ];
    NAMES.contains(&&name)
}

fn no_format() -> ItemError {
    undecodable("there is no `fmt ` chunk before its data")
}

/// The error for a file whose chunks end at `at` without data.
fn no_data(file: &[u8], at: usize) -> ItemError {
    match at == file.len() {
        true => ItemError::new("no samples in it"),
        false => cut(),
    }
}

impl Format {
    fn read(chunk: &[u8], order: Order) -> Result<Self, ItemError> {
        let number = |at| array(chunk, at).map(|bytes| order.u16(bytes));
        let rate = array(chunk, 4).map(|bytes| order.u32(bytes));
        let (Some(tag), Some(channels), Some(rate), Some(block)) = (number(0), number(2), rate, number(12)) else {
            return Err(undecodable("its `fmt ` chunk is too short"));
        };
        let inner = chunk.get(26..40).filter(|_| tag == EXTENSIBLE);
        let tag = match inner {
            Some(inner) if SUBFORMAT.contains(&inner) => number(24).unwrap_or(tag),
            _ => tag,
        };
        Ok(Self { order, tag, channels, rate, block, bits: number(14).unwrap_or(0) })
    }

    fn name(&self) -> String {
        let bits = self.bits;
        match self.tag {
            0x01 | 0x03 => format!("PCM of {bits} bits"),
            0x02 | 0x11 => format!("{} of {bits} bits", codec::wave(self.tag)),
            tag => codec::wave(tag),
        }
    }

    /// Bytes of a sample: by its bits, whatever the size of a block is said to be; but 17 to 24 bits may lie in four
    /// bytes, and without bits the block tells.
    fn bytes(&self) -> u16 {
        let of_block = self.block.checked_div(self.channels).filter(|_| self.block.is_multiple_of(self.channels));
        match (self.bits, of_block) {
            (17..=24, Some(4)) => 4,
            (1..=64, _) => self.bits.div_ceil(8),
            (_, Some(bytes @ 1..=8)) => bytes,
            _ => self.bits.div_ceil(8),
        }
    }
}

/// The name of the codec of a `fmt ` chunk, for a container that wraps one.
pub(crate) fn codec(chunk: &[u8]) -> String {
    Format::read(chunk, Order::Little).map_or_else(|_| "one of WAV's".to_owned(), |format| format.name())
}

fn content<'a>(format: &Format, data: &'a [u8]) -> Result<Content<'a>, ItemError> {
    let Format { order, tag, channels, rate, block, bits } = *format;
    if STREAMS.contains(&tag) {
        return Ok(Content::Packets(data));
    }
    let pcm = match tag {
        0x01 if format.bytes() == 1 => Some(Pcm::Unsigned8),
        0x01 => Some(Pcm::Signed(format.bytes())),
        0x03 => Some(Pcm::Float(format.bytes())),
        0x06 => Some(Pcm::ALaw),
        0x07 => Some(Pcm::MuLaw),
        _ => None,
    };
    let coding = match (tag, pcm) {
        (_, Some(pcm)) => Coding::pcm(pcm, order, rate, channels),
        (0x02, _) if bits == 4 => Some(Coding::ms(block.into(), rate, channels)),
        (0x11, _) if bits == 4 => Some(Coding::ima(block.into(), rate, channels)),
        _ => None,
    };
    let coding = coding.ok_or_else(|| unsupported(&format.name()))?;
    Ok(Content::Blocks(Blocks::new(coding, data)?))
}
