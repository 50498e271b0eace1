//! The atoms of MP4 files and their kin that a reader of packets leaves out: edit lists and Apple's note on gaps, which
//! announce delay and padding; the names of codecs; the order of bytes in QuickTime's PCM.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_S24BE,
    CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE,
};

use super::trim::Span;
use super::{array, codec};

/// Sample entries that are decoded.
const KNOWN: [&[u8; 4]; 12] =
    [b"mp4a", b"alac", b"fLaC", b".mp3", b"lpcm", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"fl64", b"raw "];
/// A sample entry's fields before its own atoms, by its version.
const FIELDS: [usize; 3] = [28, 44, 64];

/// An atom's name and content.
type Atom<'a> = ([u8; 4], &'a [u8]);

/// The atoms that follow one another in `bytes`.
fn atoms(mut bytes: &[u8]) -> impl Iterator<Item = Atom<'_>> {
    std::iter::from_fn(move || {
        let (size, name) = (u32::from_be_bytes(array(bytes, 0)?), array(bytes, 4)?);
        let (header, size) = match size {
            0 => (8, bytes.len() as u64),
            1 => (16, u64::from_be_bytes(array(bytes, 8)?)),
            size => (8, size.into()),
        };
        let end = usize::try_from(size).unwrap_or(usize::MAX).min(bytes.len());
        let content = bytes.get(header..end)?;
        bytes = &bytes[end..];
        Some((name, content))
    })
}

/// The content of the first atom at `path`.
fn at<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
    let Some((first, rest)) = path.split_first() else { return Some(bytes) };
    let (_, content) = atoms(bytes).find(|(name, _)| name == *first)?;
    at(content, rest)
}

/// A big-endian number behind version and flags, and `short` bytes (0: 32 bits; 1: 64 bits) further on.
fn number(atom: &[u8], short: usize, long: usize) -> Option<u64> {
    match atom.first()? {
        0 => array(atom, short).map(|bytes| u32::from_be_bytes(bytes).into()),
        _ => array(atom, long).map(u64::from_be_bytes),
    }
}

/// The `moov` atom of a file that begins as these do.
fn movie(file: &[u8]) -> Option<&[u8]> {
    let starts = matches!(file.get(4..8)?, b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip");
    at(file, &[b"moov"]).filter(|_| starts)
}

/// A track of sound.
struct Track<'a> {
    id: u32,
    /// Ticks a second of its media.
    scale: u32,
    /// Name and content of its sample entry.
    entry: Atom<'a>,
    atom: &'a [u8],
}

fn tracks(movie: &[u8]) -> impl Iterator<Item = Track<'_>> {
    atoms(movie).filter(|(name, _)| name == b"trak").filter_map(|(_, atom)| {
        let media = at(atom, &[b"mdia"])?;
        let sound = at(media, &[b"hdlr"])?.get(8..12)? == b"soun";
        let header = at(atom, &[b"tkhd"])?;
        let id = array(header, if *header.first()? == 0 { 12 } else { 20 }).map(u32::from_be_bytes)?;
        let header = at(media, &[b"mdhd"])?;
        let scale = array(header, if *header.first()? == 0 { 12 } else { 20 }).map(u32::from_be_bytes)?;
        let entries = at(media, &[b"minf", b"stbl", b"stsd"])?.get(8..)?;
        Some(Track { id, scale, entry: atoms(entries).next()?, atom }).filter(|_| sound)
    })
}

/// The name of the codec of the first track of sound, if it is not decoded.
pub(crate) fn unknown_codec(file: &[u8]) -> Option<String> {
    let (entry, content) = tracks(movie(file)?).next()?.entry;
    if &entry == b"enca" {
        // The codec that is encrypted.
        let inner = at(content.get(FIELDS[0]..)?, &[b"sinf", b"frma"]).and_then(|name| array(name, 0));
        return Some(format!("encrypted {}", inner.map_or("sound".to_owned(), |inner| codec::four(&inner))));
    }
    (!KNOWN.contains(&&entry)).then(|| codec::four(&entry))
}

/// What edit list or gap note say of the track, for samples of `rate`; `None` if the file has neither.
pub(crate) fn span(file: &[u8], track: u32, rate: u32) -> Option<Span> {
    let movie = movie(file)?;
    let track = tracks(movie).find(|candidate| candidate.id == track)?;
    edits(movie, &track, rate).or_else(|| gap(movie))
}

/// The span from the first edit's start to the last one's end. Edits of nothing only come before the sound.
fn edits(movie: &[u8], track: &Track<'_>, rate: u32) -> Option<Span> {
    let list = at(track.atom, &[b"edts", b"elst"])?;
    let header = at(movie, &[b"mvhd"])?;
    let movie_scale = array(header, if *header.first()? == 0 { 12 } else { 20 }).map(u32::from_be_bytes)?;
    let long = *list.first()? != 0;
    let count = array(list, 4).map(u32::from_be_bytes)?;
    let edit = |index: usize| {
        let start = 8 + index * if long { 20 } else { 12 };
        let duration = number(list, start, start)?;
        let time = match long {
            true => i64::from_be_bytes(array(list, start + 8)?),
            false => i32::from_be_bytes(array(list, start + 4)?).into(),
        };
        Some((duration, u64::try_from(time).ok()))
    };
    // Time and duration in ticks of the media and of the movie.
    let edits: Vec<(u64, u64)> =
        (0..count.min(1000) as usize).map_while(edit).filter_map(|(duration, time)| Some((time?, duration))).collect();
    let (&(start, _), &(last, length)) = (edits.first()?, edits.last()?);
    let samples = |ticks: u64, scale: u32| u128::from(ticks) * u128::from(rate) / u128::from(scale.max(1));
    let skip = samples(start, track.scale);
    // A movie's ticks are often milliseconds, rounded either way: one more cuts no sample of the sound.
    let spare = u64::from(movie_scale < rate);
    let end = samples(last, track.scale) + samples(length.saturating_add(spare), movie_scale);
    let media = total(track).map(|total| samples(total, track.scale));
    let end = media.map_or(end, |media| end.min(media));
    let keep = u64::try_from(end.saturating_sub(skip)).ok().filter(|&keep| keep > 0 && length > 0);
    Some(Span { skip: u64::try_from(skip).ok()?, keep, tail: 0 })
}

/// Ticks of all of a track's samples, which often end before the last packet does.
fn total(track: &Track<'_>) -> Option<u64> {
    let table = at(track.atom, &[b"mdia", b"minf", b"stbl", b"stts"])?.get(8..)?;
    let entries = table.as_chunks::<8>().0.iter();
    let ticks = entries.map(|entry| {
        let number = |at| array(entry, at).map_or(0, |bytes| u64::from(u32::from_be_bytes(bytes)));
        number(0) * number(4)
    });
    Some(ticks.fold(0, u64::saturating_add)).filter(|&ticks| ticks > 0)
}

/// What iTunes writes as "iTunSMPB": a zero, the delay, the padding and the samples of the sound, in hexadecimal.
fn gap(movie: &[u8]) -> Option<Span> {
    let list = at(at(movie, &[b"udta", b"meta"])?.get(4..)?, &[b"ilst"])?;
    let note = atoms(list).find_map(|(_, note)| {
        at(note, &[b"name"])?.get(4..).filter(|name| *name == b"iTunSMPB")?;
        at(note, &[b"data"])?.get(8..)
    })?;
    let numbers = str::from_utf8(note).ok()?.split_whitespace().map(|number| u64::from_str_radix(number, 16).ok());
    let numbers: Vec<u64> = numbers.collect::<Option<_>>()?;
    let [_, delay, _, samples, ..] = numbers[..] else { return None };
    // As FFmpeg: what is too long is no delay.
    const LONGEST: u64 = 16_384;
    (delay < LONGEST).then_some(Span { skip: delay, keep: Some(samples).filter(|&samples| samples > 0), tail: 0 })
}

/// The settings of a decoder inside the descriptor of an elementary stream, as AAC's cookie has it.
pub(crate) fn decoder_specific(descriptor: &[u8]) -> Option<&[u8]> {
    const STREAM: u8 = 3;
    const DECODER: u8 = 4;
    const SETTINGS: u8 = 5;
    let (&tag, rest) = descriptor.split_first()?;
    // Four groups of seven bits at most.
    let used = 1 + rest.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let size = rest[..used].iter().fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7f));
    let content = rest.get(used..)?.get(..size)?;
    match tag {
        // The stream's number and flags; the kind of object, of stream, the buffer and the rates.
        STREAM => decoder_specific(content.get(3..)?),
        DECODER => decoder_specific(content.get(13..)?),
        SETTINGS => Some(content),
        _ => None,
    }
}

/// The stream's header inside a `dfLa` atom, or on its own.
pub(crate) fn stream_info(cookie: &[u8]) -> Option<&[u8]> {
    const SIZE: usize = 34;
    let blocks = at(cookie, &[b"dfLa"]).and_then(|atom| atom.get(4..)).unwrap_or(cookie);
    let blocks = blocks.strip_prefix(b"fLaC").unwrap_or(blocks);
    let info = blocks.strip_prefix(&[0, 0, 0, SIZE as u8]).or_else(|| blocks.strip_prefix(&[0x80, 0, 0, SIZE as u8]));
    info.unwrap_or(blocks).get(..SIZE)
}

/// QuickTime's PCM has its first byte first unless an `enda` atom says otherwise; the reader takes the last one first.
pub(crate) fn mend(file: &[u8], track: u32, params: &mut AudioCodecParameters) {
    let Some(track) = movie(file).and_then(|movie| tracks(movie).find(|candidate| candidate.id == track)) else {
        return;
    };
    let (name, entry) = track.entry;
    let version = usize::from(array(entry, 8).map_or(0, u16::from_be_bytes));
    let inner = FIELDS.get(version).and_then(|&fields| entry.get(fields..)).unwrap_or_default();
    let little = at(inner, &[b"wave", b"enda"]).or_else(|| at(inner, &[b"enda"])).is_some_and(|enda| enda == [0, 1]);
    if little || !matches!(&name, b"in24" | b"in32" | b"fl32" | b"fl64") {
        return;
    }
    params.codec = match params.codec {
        CODEC_ID_PCM_S24LE => CODEC_ID_PCM_S24BE,
        CODEC_ID_PCM_S32LE => CODEC_ID_PCM_S32BE,
        CODEC_ID_PCM_F32LE => CODEC_ID_PCM_F32BE,
        CODEC_ID_PCM_F64LE => CODEC_ID_PCM_F64BE,
        other => other,
    };
}
