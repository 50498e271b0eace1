//! AIFF and AIFF-C files.

use fusemix_sdk::ItemError;

use super::blocks::{Blocks, Coding, Order, Pcm, extent};
use super::codec::{self, unsupported};
use super::{Content, array};
use crate::decode::{cut, undecodable};

/// What a `COMM` chunk says.
struct Common {
    channels: u16,
    bits: u16,
    /// Samples a second.
    rate: u32,
    /// AIFF-C's.
    compression: Option<[u8; 4]>,
}

/// The content of a file that begins as these do.
pub(crate) fn read(file: &[u8]) -> Option<Result<Content<'_>, ItemError>> {
    let compressed = match (file.get(..4)?, file.get(8..12)?) {
        (b"FORM", b"AIFF") => false,
        (b"FORM", b"AIFC") => true,
        _ => return None,
    };
    Some(chunks(file, compressed))
}

fn chunks(file: &[u8], compressed: bool) -> Result<Content<'_>, ItemError> {
    let (mut at, mut common, mut data) = (12, None, None);
    while let (Some(name), Some(size)) = (array::<4>(file, at), array(file, at + 4).map(u32::from_be_bytes)) {
        let start = at + 8;
        let body = &file[start..];
        match &name {
            b"COMM" => common = Some(Common::read(body, compressed)?),
            b"SSND" => {
                // Bytes before the first sample, behind two numbers.
                let offset = array(body, 0).map(u32::from_be_bytes).ok_or_else(cut)? as usize;
                let samples = body.get(8 + offset..).ok_or_else(|| undecodable("its samples begin behind its end"))?;
                // A size of 0 is one that nobody knew yet; that of the two numbers alone is an empty sound.
                if size != 0 && u64::from(size) <= 8 + offset as u64 {
                    return Err(ItemError::new("no samples in it"));
                }
                let header = start + 8 + offset;
                data = Some(extent(samples, u64::from(size).saturating_sub(8 + offset as u64), header)?);
                // Nothing is known to follow data of unknown size.
                if common.is_some() || u64::from(size) > body.len() as u64 {
                    break;
                }
            }
            _ => {}
        }
        at = start + (size as usize).next_multiple_of(2);
    }
    match (common, data) {
        (None, Some(_)) => Err(undecodable("there is no `COMM` chunk before its data")),
        (_, None) if at > file.len() => Err(cut()),
        (_, None) => Err(ItemError::new("no samples in it")),
        (Some(common), Some(data)) => Ok(Content::Blocks(Blocks::new(common.coding()?, data)?)),
    }
}

impl Common {
    fn read(chunk: &[u8], compressed: bool) -> Result<Self, ItemError> {
        let number = |at| array(chunk, at).map(u16::from_be_bytes).ok_or_else(cut);
        let rate = float80(array(chunk, 8).ok_or_else(cut)?);
        let compression = if compressed { Some(array(chunk, 18).ok_or_else(cut)?) } else { None };
        Ok(Self { channels: number(0)?, bits: number(6)?, rate, compression })
    }

    fn coding(&self) -> Result<Coding, ItemError> {
        let Self { channels, bits, rate, compression } = *self;
        let whole = Pcm::Signed(bits.div_ceil(8));
        let (pcm, order) = match compression.as_ref() {
            None | Some(b"NONE" | b"none" | b"twos" | b"TWOS") => (whole, Order::Big),
            Some(b"sowt" | b"SOWT") => (whole, Order::Little),
            Some(b"raw " | b"RAW ") => (Pcm::Unsigned8, Order::Big),
            Some(b"in24" | b"IN24") => (Pcm::Signed(3), Order::Big),
            Some(b"in32" | b"IN32") => (Pcm::Signed(4), Order::Big),
            Some(b"42ni" | b"42NI") => (Pcm::Signed(3), Order::Little),
            Some(b"23ni" | b"23NI") => (Pcm::Signed(4), Order::Little),
            Some(b"fl32" | b"FL32") => (Pcm::Float(4), Order::Big),
            Some(b"fl64" | b"FL64") => (Pcm::Float(8), Order::Big),
            Some(b"alaw" | b"ALAW") => (Pcm::ALaw, Order::Big),
            Some(b"ulaw" | b"ULAW") => (Pcm::MuLaw, Order::Big),
            Some(b"ima4" | b"IMA4") => return Ok(Coding::ima4(rate, channels)),
            Some(other) => return Err(unsupported(&codec::four(other))),
        };
        Coding::pcm(pcm, order, rate, channels).ok_or_else(|| unsupported(&format!("PCM of {bits} bits")))
    }
}

/// A number of the size that only this format knows: a sign, 15 bits of exponent, and 64 of mantissa. Whole numbers of
/// 32 bits are all that a rate needs; others are 0, which is refused as a rate.
fn float80([high, low, mantissa @ ..]: [u8; 10]) -> u32 {
    let exponent = i32::from(u16::from_be_bytes([high, low])) - 16_383;
    match exponent {
        0..=31 => (u64::from_be_bytes(mantissa) >> (63 - exponent)) as u32,
        _ => 0,
    }
}
