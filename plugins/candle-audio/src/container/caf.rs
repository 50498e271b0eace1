//! CAF files: blocks of one size, and packets whose sizes a table says.

use fusemix_sdk::ItemError;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_AAC, CODEC_ID_ALAC, CODEC_ID_FLAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3,
};

use super::blocks::{Blocks, Coding, Order, Pcm, extent};
use super::codec::{self, unsupported};
use super::table::Table;
use super::trim::Span;
use super::{Content, array, flac, mp4};
use crate::decode::{cut, undecodable};

/// The content of a file that begins as these do.
pub(crate) fn read(file: &[u8]) -> Option<Result<Content<'_>, ItemError>> {
    if file.get(..4)? != b"caff" || file.get(8..12)? != b"desc" {
        return None;
    }
    let format: [u8; 4] = array(file, 28)?;
    let codec = match &format {
        b"lpcm" | b"ima4" | b"alaw" | b"ulaw" => return Some(blocks(file, format)),
        b"aac " => CODEC_ID_AAC,
        b"alac" => CODEC_ID_ALAC,
        b"flac" => CODEC_ID_FLAC,
        b".mp1" => CODEC_ID_MP1,
        b".mp2" => CODEC_ID_MP2,
        b".mp3" => CODEC_ID_MP3,
        other => return Some(Err(unsupported(&codec::four(other)))),
    };
    let mut params = AudioCodecParameters::new();
    params.for_codec(codec);
    Some(packets(file, params))
}

/// The chunks behind the format: their names, and the claimed sizes and places of their contents.
fn chunks(file: &[u8]) -> impl Iterator<Item = ([u8; 4], u64, usize)> {
    let mut at = 8usize;
    std::iter::from_fn(move || {
        let (name, size) = (array::<4>(file, at)?, array(file, at + 4).map(u64::from_be_bytes)?);
        let start = at + 12;
        at = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX)).min(usize::MAX - 12);
        Some((name, size, start))
    })
}

/// The samples, behind a number of edits. Whether they are missing or cut off, the end of the last chunk says.
fn data(file: &[u8]) -> Result<&[u8], ItemError> {
    let mut end = 8;
    for (name, size, start) in chunks(file) {
        if &name == b"data" {
            let body = file.get(start + 4..).ok_or_else(cut)?;
            return extent(body, size.saturating_sub(4), start + 4);
        }
        end = usize::try_from(size).map_or(usize::MAX, |size| start.saturating_add(size));
    }
    Err(if end == file.len() { ItemError::new("no samples in it") } else { cut() })
}

/// The format begins at 20: the rate as f64, the codec, its flags, bytes and frames of a packet, channels and bits of
/// a sample.
fn blocks(file: &[u8], format: [u8; 4]) -> Result<Content<'_>, ItemError> {
    let number = |at| array(file, at).map(u32::from_be_bytes).ok_or_else(cut);
    let rate = rate(file)?;
    let (flags, channels, bits) = (number(32)?, channels(file)?, number(48)?);
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
    Ok(Content::Blocks(Blocks::new(coding, data(file)?)?))
}

fn rate(file: &[u8]) -> Result<u32, ItemError> {
    array(file, 20).map(|bytes| f64::from_be_bytes(bytes) as u32).ok_or_else(cut)
}

fn channels(file: &[u8]) -> Result<u16, ItemError> {
    let channels = array(file, 44).map(u32::from_be_bytes).ok_or_else(cut)?;
    Ok(u16::try_from(channels).unwrap_or(u16::MAX))
}

/// Packets of a codec with its parameters as far as they are known. The table often has room behind its last entry.
fn packets(file: &[u8], mut params: AudioCodecParameters) -> Result<Content<'_>, ItemError> {
    let number = |at| array(file, at).map(u32::from_be_bytes).ok_or_else(cut);
    let (bytes, samples) = (number(36)?, number(40)?);
    let chunk = |wanted: &[u8; 4]| {
        let (_, size, start) = chunks(file).find(|(name, ..)| name == wanted)?;
        file.get(start..)?.get(..usize::try_from(size).ok()?)
    };
    let data = data(file)?;
    let no_table = || if data.len() < 4 { ItemError::new("no samples in it") } else { cut() };
    let table = chunk(b"pakt").map(|table| entries(table, bytes, samples).ok_or_else(cut)).transpose()?;
    let (span, packets) = match (table, bytes) {
        // Packets of one size have no entries, only what of them is the sound.
        (Some((span, packets)), _) if !packets.is_empty() => (span, packets),
        (Some((span, packets)), 0) => (span, packets),
        (None, 0) => return Err(no_table()),
        (table, bytes) => {
            let span = table.map(|(span, _)| span).unwrap_or_default();
            (span, vec![(bytes as usize, samples.into()); data.len() / bytes as usize])
        }
    };
    let (rate, channels) = (rate(file)?, channels(file)?);
    if !(1..=32).contains(&channels) {
        return Err(undecodable(format_args!("its header claims {channels} channels")));
    }
    params.with_sample_rate(rate).with_channels(Channels::Discrete(channels));
    params.with_max_frames_per_packet(samples.into()).with_frames_per_block(samples.into());
    let first = data.get(..packets.first().map_or(0, |(bytes, _)| *bytes)).unwrap_or_default();
    let private = match (params.codec, chunk(b"kuki")) {
        (CODEC_ID_AAC, Some(cookie)) => mp4::decoder_specific(cookie).map(Into::into),
        (CODEC_ID_FLAC, cookie) => {
            cookie.and_then(mp4::stream_info).map(Into::into).or_else(|| flac::stream_info(first, rate, channels))
        }
        (_, cookie) => cookie.map(Into::into),
    };
    if let Some(private) = private {
        params.with_extra_data(private);
    }
    Table::new(params, span, data, packets).map(Content::Table).ok_or_else(cut)
}

/// What a packet table says: what of the samples is the sound, and bytes and samples of each packet; `bytes` and
/// `samples` are those of all packets, or 0 if each has its own.
fn entries(table: &[u8], bytes: u32, samples: u32) -> Option<(Span, Vec<(usize, u64)>)> {
    let count = array(table, 0).map(i64::from_be_bytes)?;
    let (valid, priming) = (array(table, 8).map(i64::from_be_bytes)?, array(table, 16).map(i32::from_be_bytes)?);
    let mut rest = table.get(24..)?;
    let mut packets = Vec::new();
    // A number in each packet costs a byte at least.
    let most = if bytes > 0 && samples > 0 { 0 } else { count.max(0) };
    for _ in 0..most {
        let bytes = if bytes == 0 { variable(&mut rest)? } else { bytes.into() };
        let samples = if samples == 0 { variable(&mut rest)? } else { samples.into() };
        packets.push((usize::try_from(bytes).ok()?, samples));
    }
    let span =
        Span { skip: priming.max(0) as u64, keep: u64::try_from(valid).ok().filter(|&valid| valid > 0), tail: 0 };
    Some((span, packets))
}

/// A number in groups of seven bits, the highest first; all but the last have the eighth bit.
fn variable(rest: &mut &[u8]) -> Option<u64> {
    let length = 1 + rest.iter().take(9).position(|byte| byte & 0x80 == 0)?;
    let (number, others) = rest.split_at(length);
    *rest = others;
    Some(number.iter().fold(0, |number, &byte| number << 7 | u64::from(byte & 0x7f)))
}
