//! The elements of Matroska and WebM files that a reader of packets leaves out: the delay and the padding of encoders,
//! and the names of codecs.

use super::trim::Span;
use super::{array, codec, wave};

const HEADER: u32 = 0x1a45_dfa3;
const SEGMENT: u32 = 0x1853_8067;
const TRACKS: u32 = 0x1654_ae6b;
const CLUSTER: u32 = 0x1f43_b675;
const SIMPLE_BLOCK: u32 = 0xa3;
const BLOCK_GROUP: u32 = 0xa0;
const BLOCK: u32 = 0xa1;
const DISCARD_PADDING: u32 = 0x75a2;
const TRACK_ENTRY: u32 = 0xae;
const TRACK_NUMBER: u32 = 0xd7;
const TRACK_TYPE: u32 = 0x83;
const CODEC: u32 = 0x86;
const CODEC_PRIVATE: u32 = 0x63a2;
const AUDIO: u32 = 0xe1;
const BIT_DEPTH: u32 = 0x6264;
const CODEC_DELAY: u32 = 0x56aa;
/// The type of a track of sound.
const SOUND: u64 = 2;
const NANOSECONDS: u128 = 1_000_000_000;

/// Codecs that are decoded, beside PCM.
const KNOWN: [&str; 5] = ["A_AAC", "A_MPEG/", "A_FLAC", "A_VORBIS", "A_ALAC"];

/// An element's identifier and content.
type Element<'a> = (u32, &'a [u8]);

/// The elements that follow one another in `bytes`, and those inside segments and clusters, whose size may be unknown.
fn elements(mut bytes: &[u8]) -> impl Iterator<Item = Element<'_>> {
    std::iter::from_fn(move || {
        let length = bytes.first()?.leading_zeros() as usize + 1;
        let id = bytes.get(..length).filter(|_| length <= 4)?.iter().fold(0, |id, &byte| id << 8 | u32::from(byte));
        let (size, used) = variable(&bytes[length..])?;
        let content = &bytes[length + used..];
        let end = if matches!(id, SEGMENT | CLUSTER) { 0 } else { usize::try_from(size).unwrap_or(usize::MAX) };
        let (content, rest) = content.split_at(end.min(content.len()));
        bytes = rest;
        Some((id, content))
    })
}

/// A number of variable length, and the length.
fn variable(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let rest = bytes.get(1..length).filter(|_| length <= 8)?;
    let high = u64::from(first) & ((1 << (8 - length)) - 1);
    Some((rest.iter().fold(high, |number, &byte| number << 8 | u64::from(byte)), length))
}

fn unsigned(content: &[u8]) -> u64 {
    content.iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// `file` up to the end of its segment, if the size of that is known.
pub(crate) fn whole(file: &[u8]) -> &[u8] {
    let end = || {
        let (HEADER, header) = elements(file).next()? else { return None };
        let segment = header.as_ptr_range().end as usize - file.as_ptr() as usize;
        let rest = file.get(segment..)?.strip_prefix(&SEGMENT.to_be_bytes())?;
        let (size, used) = variable(rest)?;
        let start = segment + 4 + used;
        // All ones: unknown.
        let known = size != (1 << (7 * used)) - 1;
        usize::try_from(size).ok().filter(|_| known).and_then(|size| start.checked_add(size))
    };
    end().and_then(|end| file.get(..end)).unwrap_or(file)
}

/// The elements of each track of sound.
fn tracks(file: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    if elements(file).next()?.0 != HEADER {
        return None;
    }
    let (_, tracks) = elements(file).take_while(|(id, _)| *id != CLUSTER).find(|(id, _)| *id == TRACKS)?;
    let entries = elements(tracks).filter(|(id, _)| *id == TRACK_ENTRY).map(|(_, entry)| entry);
    Some(entries.filter(|entry| child(entry, TRACK_TYPE).map(unsigned) == Some(SOUND)))
}

fn child(parent: &[u8], wanted: u32) -> Option<&[u8]> {
    elements(parent).find(|(id, _)| *id == wanted).map(|(_, content)| content)
}

/// The name of the codec of the first track of sound, if it is not decoded.
pub(crate) fn unknown_codec(file: &[u8]) -> Option<String> {
    let track = tracks(file)?.next()?;
    let id = str::from_utf8(child(track, CODEC)?).ok()?.trim_end_matches('\0');
    // Names of WAV's and QuickTime's own.
    let private = child(track, CODEC_PRIVATE).unwrap_or_default();
    match id {
        "A_MS/ACM" => Some(wave::codec(private)),
        "A_QUICKTIME" => Some(array(private, 4).map_or("QuickTime's".to_owned(), |code| codec::four(&code))),
        _ if id.starts_with("A_PCM/") => {
            let bits = child(child(track, AUDIO)?, BIT_DEPTH).map_or(0, unsigned);
            let known = if id.contains("FLOAT") { [32, 64].contains(&bits) } else { [16, 24, 32].contains(&bits) };
            (!known).then(|| format!("PCM of {bits} bits"))
        }
        known if KNOWN.iter().any(|start| known.starts_with(start)) => None,
        other => Some(codec::matroska(other)),
    }
}

/// What the track's delay and its last block say, for samples of `rate`; `None` of other files.
pub(crate) fn span(file: &[u8], track: u32, rate: u32) -> Option<Span> {
    let number = |entry: &&[u8]| child(entry, TRACK_NUMBER).map(unsigned) == Some(track.into());
    let entry = tracks(file)?.find(number)?;
    // The first packet of Vorbis is decoded to nothing, and its length is the delay.
    let is_vorbis = child(entry, CODEC).is_some_and(|codec| codec.starts_with(b"A_VORBIS"));
    let delay = child(entry, CODEC_DELAY).filter(|_| !is_vorbis).map_or(0, unsigned);
    let samples = |time: u64| (u128::from(time) * u128::from(rate) + NANOSECONDS / 2) / NANOSECONDS;
    // More than a second is no padding, but damage.
    let tail = last_padding(file, track.into()).map_or(0, samples).min(rate.into());
    Some(Span { skip: u64::try_from(samples(delay)).ok()?, keep: None, tail: tail as usize })
}

/// Nanoseconds at the end of the track's last block that are no sound.
fn last_padding(file: &[u8], track: u64) -> Option<u64> {
    let blocks = elements(file).filter_map(|(id, content)| match id {
        BLOCK_GROUP => Some((child(content, BLOCK)?, child(content, DISCARD_PADDING))),
        SIMPLE_BLOCK => Some((content, None)),
        _ => None,
    });
    let own = blocks.filter(|(block, _)| variable(block).is_some_and(|(number, _)| number == track));
    let last = own.last().and_then(|(_, padding)| padding);
    // The highest bit is the sign: what is negative is at the beginning, and nobody writes it.
    last.filter(|padding| padding.first().is_some_and(|byte| byte < &0x80)).map(unsigned)
}
