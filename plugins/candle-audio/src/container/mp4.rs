//! The atoms of MP4 files and their kin that a reader of packets leaves out: edit lists and Apple's note on gaps, which
//! announce delay and padding, and the order of bytes in QuickTime's PCM.

use std::borrow::Cow;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_S24BE,
    CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE,
};

use super::trim::Span;
use super::{array, mp4_codec};

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
pub(super) fn at<'a>(bytes: &'a [u8], path: &[&[u8; 4]]) -> Option<&'a [u8]> {
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
pub(super) fn movie(file: &[u8]) -> Option<&[u8]> {
    let starts = matches!(file.get(4..8)?, b"ftyp" | b"moov" | b"mdat" | b"wide" | b"free" | b"skip");
    at(file, &[b"moov"]).filter(|_| starts)
}

/// A track of sound.
pub(super) struct Track<'a> {
    pub(super) id: u32,
    /// Ticks a second of its media.
    scale: u32,
    /// Name and content of its sample entry.
    pub(super) entry: Atom<'a>,
    pub(super) atom: &'a [u8],
}

pub(super) fn tracks(movie: &[u8]) -> impl Iterator<Item = Track<'_>> {
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

/// What edit list or gap note say of the track, for samples of `rate`; `None` if the file has neither.
pub(crate) fn spans(file: &[u8], track: u32, rate: u32) -> Option<Vec<Span>> {
    let movie = movie(file)?;
    let track = tracks(movie).find(|candidate| candidate.id == track)?;
    let alone = |span| vec![span];
    edits(movie, &track, rate).or_else(|| gap(movie).map(alone)).or_else(|| whole(&track, rate).map(alone))
}

/// The span of all of a track's samples, by their durations.
fn whole(track: &Track<'_>, rate: u32) -> Option<Span> {
    let ticks = total(track)?;
    let keep = u64::try_from(u128::from(ticks) * u128::from(rate) / u128::from(track.scale.max(1))).ok()?;
    (keep > 0).then_some(Span { skip: 0, keep: Some(keep), tail: 0 })
}

/// The spans of the edits, in the order of time. Edits of nothing only come before the sound. Where edits go back in time,
/// the span from the first one's start to the last one's end.
fn edits(movie: &[u8], track: &Track<'_>, rate: u32) -> Option<Vec<Span>> {
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
    let samples = |ticks: u64, scale: u32| u128::from(ticks) * u128::from(rate) / u128::from(scale.max(1));
    // A movie's ticks are often milliseconds, rounded either way: one more cuts no sample of the sound.
    let spare = u64::from(movie_scale < rate);
    let media = total(track).map_or(u128::MAX, |total| samples(total, track.scale));
    let silent = samples(silent(track).unwrap_or(edits.first()?.0), track.scale);
    let ranges = edits.iter().enumerate().map(|(at, &(time, duration))| {
        let (start, spare) = (samples(time, track.scale), if at + 1 == edits.len() { spare } else { 0 });
        let end = match duration {
            // To the end of the media.
            0 => u128::MAX,
            _ => start + samples(duration.saturating_add(spare), movie_scale),
        };
        (start.saturating_sub(silent), end.min(media).saturating_sub(silent))
    });
    let mut ranges: Vec<(u128, u128)> = ranges.collect();
    if ranges.windows(2).any(|pair| pair[1].0 < pair[0].1) {
        ranges = vec![(ranges.first()?.0, ranges.last()?.1)];
    }
    let mut before = 0;
    let spans = ranges.into_iter().map(|(start, end)| {
        let skip = u64::try_from(start.saturating_sub(before)).ok()?;
        before = end;
        let keep = u64::try_from(end.saturating_sub(start)).ok().filter(|&keep| keep > 0);
        Some(Span { skip, keep, tail: 0 })
    });
    spans.collect::<Option<Vec<_>>>().filter(|spans| !spans.is_empty())
}

/// Ticks of all of a track's samples, which often end before the last packet does. Those of Vorbis are not what its
/// packets decode to.
fn total(track: &Track<'_>) -> Option<u64> {
    if mp4_codec::is_vorbis(track) {
        return None;
    }
    let table = at(track.atom, &[b"mdia", b"minf", b"stbl", b"stts"])?.get(8..)?;
    let entries = table.as_chunks::<8>().0.iter();
    let ticks = entries.map(|entry| {
        let number = |at| array(entry, at).map_or(0, |bytes| u64::from(u32::from_be_bytes(bytes)));
        number(0) * number(4)
    });
    Some(ticks.fold(0, u64::saturating_add)).filter(|&ticks| ticks > 0)
}

/// Ticks of the first packet, if it decodes to nothing as Vorbis's does; `None` if it does and nothing says how long it
/// is.
fn silent(track: &Track<'_>) -> Option<u64> {
    if !mp4_codec::is_vorbis(track) {
        return Some(0);
    }
    let table = at(track.atom, &[b"mdia", b"minf", b"stbl", b"stts"])?;
    array(table, 12).map(|ticks| u32::from_be_bytes(ticks).into())
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
    const SETTINGS: u8 = 5;
    let (tag, content) = described(decoder(descriptor)?.get(13..)?)?;
    (tag == SETTINGS).then_some(content)
}

/// The kind of object that an elementary stream holds.
pub(super) fn object(descriptor: &[u8]) -> Option<u8> {
    decoder(descriptor)?.first().copied()
}

/// What a stream's descriptor says of its decoder: the kind of object and of stream, the buffer and the rates.
fn decoder(descriptor: &[u8]) -> Option<&[u8]> {
    const STREAM: u8 = 3;
    const DECODER: u8 = 4;
    let (tag, content) = described(descriptor)?;
    match tag {
        // The stream's number and flags.
        STREAM => decoder(content.get(3..)?),
        DECODER => Some(content),
        _ => None,
    }
}

/// A descriptor's tag and content.
fn described(descriptor: &[u8]) -> Option<(u8, &[u8])> {
    let (&tag, rest) = descriptor.split_first()?;
    // Four groups of seven bits at most.
    let used = 1 + rest.iter().take(4).position(|byte| byte & 0x80 == 0)?;
    let size = rest[..used].iter().fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7f));
    Some((tag, rest.get(used..)?.get(..size)?))
}

/// The atoms of a sample entry, behind its fields.
pub(super) fn inner(entry: &[u8]) -> &[u8] {
    let version = usize::from(array(entry, 8).map_or(0, u16::from_be_bytes));
    FIELDS.get(version).and_then(|&fields| entry.get(fields..)).unwrap_or_default()
}

/// `file` with one sample entry a track, the first, which is all that the reader takes.
pub(crate) fn with_one_entry(file: &[u8]) -> Cow<'_, [u8]> {
    let Some(movie) = movie(file) else { return file.into() };
    let tables = atoms(movie).filter(|(name, _)| name == b"trak");
    let tables = tables.filter_map(|(_, track)| at(track, &[b"mdia", b"minf", b"stbl", b"stsd"]));
    let many = tables.filter(|table| array(table, 4).map_or(0, u32::from_be_bytes) > 1);
    let places: Vec<usize> = many.map(|table| table.as_ptr().addr() - file.as_ptr().addr() + 4).collect();
    if places.is_empty() {
        return file.into();
    }
    let mut file = file.to_vec();
    places.into_iter().for_each(|place| file[place..place + 4].copy_from_slice(&1u32.to_be_bytes()));
    file.into()
}

/// True of a file with a fragment of more packets than the file has bytes, which its reader would count one by one.
pub(crate) fn counts_beyond(file: &[u8]) -> bool {
    let inside = |content, wanted: &'static [u8; 4]| {
        atoms(content).filter(move |(name, _)| name == wanted).map(|(_, content)| content)
    };
    let fragments = movie(file).map(|_| inside(file, b"moof")).into_iter().flatten();
    let mut runs = fragments.flat_map(|fragment| inside(fragment, b"traf")).flat_map(|track| inside(track, b"trun"));
    runs.any(|run| array(run, 4).map_or(0, u32::from_be_bytes) as usize > file.len())
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
    let inner = inner(entry);
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
