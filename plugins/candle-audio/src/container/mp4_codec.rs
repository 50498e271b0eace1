//! The codecs of MP4's tracks of sound: the names of those that are not decoded, and the settings of those that the reader
//! of packets knows nothing of.

use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ALAC, CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32BE, CODEC_ID_PCM_F32LE,
    CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE,
    CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE, CODEC_ID_PCM_S32LE, CODEC_ID_VORBIS,
};

use super::mp4::{Track, at, decoder_specific, inner, movie, object, tracks};
use super::{array, codec};

/// Sample entries that are decoded.
const KNOWN: [&[u8; 4]; 16] = [
    b"mp4a", b"alac", b"fLaC", b".mp3", b"lpcm", b"sowt", b"twos", b"in24", b"in32", b"fl32", b"fl64", b"raw ",
    b"alaw", b"ulaw", b"ipcm", b"fpcm",
];
/// A sample entry's fields before its own atoms.
const FIELDS: usize = 28;
/// Objects of an elementary stream.
const MPEG_AUDIO: [u8; 2] = [0x69, 0x6b];
const VORBIS: u8 = 0xdd;

/// The name of the codec of the first track of sound, if it is not decoded.
pub(crate) fn unknown(file: &[u8]) -> Option<String> {
    let (entry, content) = tracks(movie(file)?).next()?.entry;
    match &entry {
        b"enca" => {
            // The codec that is encrypted.
            let inner = at(content.get(FIELDS..)?, &[b"sinf", b"frma"]).and_then(|name| array(name, 0));
            Some(format!("encrypted {}", inner.map_or("sound".to_owned(), |inner| codec::four(&inner))))
        }
        b"mp4a" => codec::object(object(descriptor(content)?)?),
        known if KNOWN.contains(&known) => None,
        other => Some(codec::four(other)),
    }
}

/// The number of the first track of sound and its parameters, where the reader has none or wrong ones.
pub(crate) fn params(file: &[u8]) -> Option<(u32, AudioCodecParameters)> {
    let track = tracks(movie(file)?).next()?;
    let (name, entry) = track.entry;
    let mut params = AudioCodecParameters::new();
    match &name {
        b"mp4a" => match object(descriptor(entry)?)? {
            VORBIS => {
                params.for_codec(CODEC_ID_VORBIS).with_extra_data(vorbis(decoder_specific(descriptor(entry)?)?)?);
            }
            // Of three layers under one name, each packet says which.
            kind if MPEG_AUDIO.contains(&kind) => match array::<2>(first(file, &track)?, 0)? {
                [0xff, second] if second & 0xe6 == 0xe4 => _ = params.for_codec(CODEC_ID_MP2),
                [0xff, second] if second & 0xe6 == 0xe6 => _ = params.for_codec(CODEC_ID_MP1),
                _ => return None,
            },
            _ => return None,
        },
        // QuickTime's cookie.
        b"alac" => {
            let cookie = at(inner(entry), &[b"wave", b"alac"])?.get(4..)?;
            params.for_codec(CODEC_ID_ALAC).with_extra_data(cookie.into());
        }
        b"alaw" | b"ulaw" => {
            params.for_codec(if &name == b"alaw" { CODEC_ID_PCM_ALAW } else { CODEC_ID_PCM_MULAW });
            params.with_max_frames_per_packet(1);
        }
        b"ipcm" | b"fpcm" => {
            let &[_, _, _, _, flags, bits, ..] = at(inner(entry), &[b"pcmC"])? else { return None };
            params.for_codec(match (&name, bits, flags & 1 == 1) {
                (b"ipcm", 16, true) => CODEC_ID_PCM_S16LE,
                (b"ipcm", 16, false) => CODEC_ID_PCM_S16BE,
                (b"ipcm", 24, true) => CODEC_ID_PCM_S24LE,
                (b"ipcm", 24, false) => CODEC_ID_PCM_S24BE,
                (b"ipcm", 32, true) => CODEC_ID_PCM_S32LE,
                (b"ipcm", 32, false) => CODEC_ID_PCM_S32BE,
                (b"fpcm", 32, true) => CODEC_ID_PCM_F32LE,
                (b"fpcm", 32, false) => CODEC_ID_PCM_F32BE,
                (b"fpcm", 64, true) => CODEC_ID_PCM_F64LE,
                (b"fpcm", 64, false) => CODEC_ID_PCM_F64BE,
                _ => return None,
            });
            params.with_bits_per_sample(bits.into()).with_bits_per_coded_sample(bits.into());
            params.with_max_frames_per_packet(1);
        }
        _ => return None,
    }
    // Fields of the entry: channels, and the rate in 65,536ths.
    params.with_channels(Channels::Discrete(array(entry, 16).map(u16::from_be_bytes).filter(|&count| count > 0)?));
    params.with_sample_rate(array(entry, 24).map(u16::from_be_bytes)?.into());
    Some((track.id, params))
}

pub(super) fn is_vorbis(track: &Track<'_>) -> bool {
    let (name, entry) = track.entry;
    &name == b"mp4a" && descriptor(entry).and_then(object) == Some(VORBIS)
}

/// The descriptor of an elementary stream, which QuickTime puts one atom further in.
fn descriptor(entry: &[u8]) -> Option<&[u8]> {
    let atoms = inner(entry);
    at(atoms, &[b"esds"]).or_else(|| at(atoms, &[b"wave", b"esds"]))?.get(4..)
}

/// The first bytes of a track's sound; in a file of fragments, of the first one.
fn first<'a>(file: &'a [u8], track: &Track<'_>) -> Option<&'a [u8]> {
    let chunks = |name| at(track.atom, &[b"mdia", b"minf", b"stbl", name]);
    let short = || array(chunks(b"stco")?, 8).map(|place| u64::from(u32::from_be_bytes(place)));
    let long = || array(chunks(b"co64")?, 8).map(u64::from_be_bytes);
    match short().or_else(long) {
        Some(place) => file.get(usize::try_from(place).ok()?..),
        None => at(file, &[b"mdat"]),
    }
}

/// Vorbis's first and third header, out of three of which the sizes come first: of two of them in parts of 255 behind
/// a 2, or of each in 16 bits.
fn vorbis(settings: &[u8]) -> Option<Box<[u8]>> {
    let (first, second, headers) = match settings {
        [2, rest @ ..] => {
            let mut rest = rest;
            let mut size = || {
                let parts = rest.iter().position(|&part| part < 255)? + 1;
                let (own, others) = rest.split_at(parts);
                rest = others;
                Some(own.iter().map(|&part| usize::from(part)).sum::<usize>())
            };
            let (first, second) = (size()?, size()?);
            (rest.get(..first)?, second, rest.get(first..)?)
        }
        [0, 30, ..] => {
            let first = settings.get(2..32)?;
            let second = usize::from(array(settings, 32).map(u16::from_be_bytes)?);
            (first, second, settings.get(34..)?)
        }
        _ => return None,
    };
    let third = headers.get(second..)?;
    let third = if settings[0] == 2 { third } else { third.get(2..)? };
    Some([first, third].concat().into())
}
