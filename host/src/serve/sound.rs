//! The length of a sound, as far as its container tells it without being decoded.

use std::io::Cursor;
use std::panic::catch_unwind;
use symphonia::core::formats::TrackType;
use symphonia::core::formats::probe::Hint;
use symphonia::core::io::MediaSourceStream;

/// The first bytes of the containers whose packets are looked at.
const CONTAINERS: [&[u8]; 8] = [b"RIFF", b"RF64", b"FORM", b"OggS", b"fLaC", b"ID3", b"caff", MATROSKA];
/// Those of Matroska and WebM, whose packets say when they begin, and mostly not how long they are.
const MATROSKA: &[u8] = b"\x1a\x45\xdf\xa3";

/// The samples of a second of usual sound: stereo at 48 kHz.
const USUAL: f64 = 96_000.0;

/// The length of a sound.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Length {
    pub(super) seconds: f64,
    /// The seconds of stereo at 48 kHz that have as many samples, if these are more.
    pub(super) work: f64,
}

/// The length of a sound, or a little more than `most` seconds if it is longer; none of what is no sound, or does not
/// tell.
pub(super) fn length(bytes: &[u8], most: u64) -> Length {
    let is_mpeg = bytes.first() == Some(&0xff) && bytes.get(1).is_some_and(|byte| byte & 0xe0 == 0xe0);
    if bytes.get(4..8) == Some(b"ftyp") {
        let seconds = mp4_seconds(bytes).unwrap_or_default();
        return Length { seconds, work: seconds };
    }
    if !is_mpeg && !CONTAINERS.iter().any(|start| bytes.starts_with(start)) {
        return Length::default();
    }
    // What is damaged may surprise its reader; whoever decodes it says what is wrong with it.
    catch_unwind(|| of_packets(bytes, most as f64)).ok().flatten().unwrap_or_default()
}

/// The length of the packets of the first track.
fn of_packets(bytes: &[u8], most: f64) -> Option<Length> {
    let source = MediaSourceStream::new(Box::new(Cursor::new(bytes)), Default::default());
    let probe = symphonia::default::get_probe();
    let mut format = probe.probe(&Hint::new(), source, Default::default(), Default::default()).ok()?;
    let track = format.default_track(TrackType::Audio)?;
    let audio = track.codec_params.as_ref().and_then(|codec| codec.audio());
    let rate = audio.and_then(|audio| audio.sample_rate).map(f64::from);
    let channels = audio.and_then(|audio| audio.channels.as_ref()).map_or(1, |channels| channels.count());
    let tick = track.time_base.map(|base| f64::from(base.numer.get()) / f64::from(base.denom.get()));
    let (id, tick): (u32, f64) = (track.id, tick.or_else(|| rate.map(f64::recip))?);
    let samples = rate.unwrap_or_default() * channels as f64 / USUAL;
    let (mut lasts, mut first) = (0_u64, None);
    // A packet has a byte at least.
    for _ in 0..bytes.len() {
        let Ok(Some(packet)) = format.next_packet() else { break };
        if packet.track_id != id {
            continue;
        }
        let ticks = packet.dur.get().saturating_add(packet.trim_start.get()).saturating_add(packet.trim_end.get());
        lasts = match bytes.starts_with(MATROSKA) {
            true => packet.pts.abs_delta(*first.get_or_insert(packet.pts)).get().saturating_add(ticks),
            false => lasts.saturating_add(ticks),
        };
        if lasts as f64 * tick > most {
            break;
        }
    }
    let seconds = lasts as f64 * tick;
    Some(Length { seconds, work: seconds * samples.max(1.0) })
}

/// The length that the header of an MP4 says.
fn mp4_seconds(bytes: &[u8]) -> Option<f64> {
    let header = child(child(bytes, b"moov")?, b"mvhd")?;
    let word = |at: usize| header.get(at..)?.first_chunk().map(|bytes| u32::from_be_bytes(*bytes));
    let (scale, length) = match header.first()? {
        0 => (word(12)?, u64::from(word(16)?)),
        _ => (word(20)?, u64::from(word(24)?) << 32 | u64::from(word(28)?)),
    };
    (scale > 0).then(|| length as f64 / f64::from(scale))
}

/// The content of the first box of this name.
fn child<'a>(mut boxes: &'a [u8], name: &[u8; 4]) -> Option<&'a [u8]> {
    loop {
        let size = u32::from_be_bytes(*boxes.first_chunk()?) as usize;
        let (size, start) = match size {
            0 => (boxes.len(), 8),
            1 => (usize::try_from(u64::from_be_bytes(*boxes.get(8..)?.first_chunk()?)).ok()?, 16),
            size => (size, 8),
        };
        let end = size.max(start).min(boxes.len());
        if boxes.get(4..8)? == name {
            return boxes.get(start..end);
        }
        boxes = &boxes[end..];
    }
}

#[cfg(test)]
mod tests {
    use super::length;

    fn is_longer(bytes: &[u8], most: u64) -> bool {
        length(bytes, most).seconds > most as f64
    }

    /// Silence of so many seconds, 8,000 samples of 8 bits in each.
    fn wave(seconds: u32) -> Vec<u8> {
        let samples = seconds * 8000;
        let mut file = b"RIFF".to_vec();
        file.extend((36 + samples).to_le_bytes());
        file.extend(b"WAVEfmt ");
        for word in [16u32, 1 | 1 << 16, 8000, 8000, 1 | 8 << 16] {
            file.extend(word.to_le_bytes());
        }
        file.extend(b"data");
        file.extend(samples.to_le_bytes());
        file.resize(44 + samples as usize, 0x80);
        file
    }

    #[test]
    fn long_sounds_are_known() {
        assert!(!is_longer(&wave(4), 5));
        assert!(is_longer(&wave(6), 5));
        let webm = include_bytes!("../../../tests/golden/sounds/sine.webm");
        assert!(is_longer(webm, 0) && !is_longer(webm, 2));
        // moov with mvhd: 600 ticks a second, 6000 of them.
        let mut mvhd = vec![0; 12];
        mvhd.extend([600u32, 6000].map(u32::to_be_bytes).concat());
        let boxed = |name: &[u8], content: &[u8]| [&(8 + content.len() as u32).to_be_bytes(), name, content].concat();
        let mp4 = [boxed(b"ftyp", b"M4A "), boxed(b"moov", &boxed(b"mvhd", &mvhd))].concat();
        assert!(is_longer(&mp4, 9) && !is_longer(&mp4, 10));
    }

    #[test]
    fn what_is_no_sound_is_not_long() {
        for bytes in [&b""[..], b"RIFF", b"OggS....", b"....ftyp", b"\0\0\0\x01ftyp", b"fLaC\xff\xff\xff", b"a text"] {
            assert!(!is_longer(bytes, 0), "{bytes:?}");
        }
    }
}
