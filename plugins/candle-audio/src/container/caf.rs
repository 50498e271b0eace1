//! CAF files, as far as their packets are blocks of one size, and what they announce.

use fusemix_sdk::ItemError;

use super::blocks::{Blocks, Coding, Order, Pcm, extent};
use super::codec::{self, unsupported};
use super::{Content, array};
use crate::decode::{cut, undecodable};

/// Codecs whose packets have many sizes, and that are decoded.
const PACKETS: [&[u8; 4]; 6] = [b"aac ", b"alac", b"flac", b".mp1", b".mp2", b".mp3"];

/// The content of a file that begins as these do, unless it is left to a reader of packets.
pub(crate) fn read(file: &[u8]) -> Option<Result<Content<'_>, ItemError>> {
    if file.get(..4)? != b"caff" || file.get(8..12)? != b"desc" {
        return None;
    }
    let format: [u8; 4] = array(file, 28)?;
    match &format {
        b"lpcm" | b"ima4" | b"alaw" | b"ulaw" => Some(content(file, format)),
        known if PACKETS.contains(&known) => None,
        other => Some(Err(unsupported(&codec::four(other)))),
    }
}

/// The format begins at 20: the rate as f64, the codec, its flags, bytes and frames of a packet, channels and bits of
/// a sample.
fn content(file: &[u8], format: [u8; 4]) -> Result<Content<'_>, ItemError> {
    let number = |at| array(file, at).map(u32::from_be_bytes).ok_or_else(cut);
    let rate = array(file, 20).map(f64::from_be_bytes).ok_or_else(cut)? as u32;
    let (flags, channels, bits) = (number(32)?, u16::try_from(number(44)?).unwrap_or(u16::MAX), number(48)?);
    let order = if flags & 2 == 0 { Order::Big } else { Order::Little };
    let bytes = (bits.div_ceil(8)).min(u16::MAX.into()) as u16;
    let coding = match &format {
        b"ima4" => Some(Coding::ima4(rate, channels)),
        b"alaw" => Coding::pcm(Pcm::ALaw, order, rate, channels),
        b"ulaw" => Coding::pcm(Pcm::MuLaw, order, rate, channels),
        _ if flags & 1 == 1 => Coding::pcm(Pcm::Float(bytes), order, rate, channels),
        _ => Coding::pcm(Pcm::Signed(bytes), order, rate, channels),
    };
    let coding = coding.ok_or_else(|| unsupported(&format!("PCM of {bits} bits")))?;
    let mut at = 8;
    while let (Some(name), Some(size)) = (array::<4>(file, at), array(file, at + 4).map(u64::from_be_bytes)) {
        let start = at + 12;
        if &name == b"data" {
            // The number of edits comes before the samples.
            let body = file.get(start + 4..).ok_or_else(cut)?;
            return Ok(Content::Blocks(Blocks::new(coding, extent(body, size.saturating_sub(4), start + 4)?)?));
        }
        at = usize::try_from(size)
            .ok()
            .and_then(|size| start.checked_add(size))
            .ok_or_else(|| undecodable("a chunk claims an impossible length"))?;
    }
    Err(if at > file.len() { cut() } else { ItemError::new("no samples in it") })
}
