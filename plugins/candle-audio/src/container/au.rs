//! AU files (Sun's and NeXT's).

use fusemix_sdk::ItemError;

use super::blocks::{Blocks, Coding, Order, Pcm, extent};
use super::codec::unsupported;
use super::{Content, array};
use crate::decode::{cut, undecodable};

/// The content of a file that begins as these do.
pub(crate) fn read(file: &[u8]) -> Option<Result<Content<'_>, ItemError>> {
    let order = match file.get(..4)? {
        b".snd" => Order::Big,
        b"dns." => Order::Little,
        _ => return None,
    };
    Some(content(file, order))
}

fn content(file: &[u8], order: Order) -> Result<Content<'_>, ItemError> {
    let number = |at| {
        let bytes = array(file, at).ok_or_else(cut)?;
        Ok(if order == Order::Big { u32::from_be_bytes(bytes) } else { u32::from_le_bytes(bytes) })
    };
    let (start, size, encoding, rate, channels) = (number(4)?, number(8)?, number(12)?, number(16)?, number(20)?);
    let channels = u16::try_from(channels).unwrap_or(u16::MAX);
    let data =
        file.get(start as usize..).filter(|_| start >= 24).ok_or_else(|| undecodable("its header is no AU header"))?;
    let pcm = match encoding {
        1 => Pcm::MuLaw,
        2..=5 => Pcm::Signed(encoding as u16 - 1),
        6 => Pcm::Float(4),
        7 => Pcm::Float(8),
        27 => Pcm::ALaw,
        other => return Err(unsupported(&name(other))),
    };
    let coding = Coding::pcm(pcm, order, rate, channels).expect("all of these sizes are");
    Ok(Content::Blocks(Blocks::new(coding, extent(data, size.into(), start as usize)?)?))
}

fn name(encoding: u32) -> String {
    match encoding {
        23 => "G.721 (ADPCM of 4 bits)".to_owned(),
        24 => "G.722".to_owned(),
        25 => "G.723 (ADPCM of 3 bits)".to_owned(),
        26 => "G.723 (ADPCM of 5 bits)".to_owned(),
        other => format!("AU's encoding {other}"),
    }
}
