//! Decoding of a sound file to samples of one channel, packet by packet.

use fusemix_sdk::ItemError;
use std::io::{Cursor, ErrorKind};
use std::sync::LazyLock;
use symphonia::core::codecs::audio::{AudioCodecParameters, AudioDecoder};
use symphonia::core::codecs::registry::CodecRegistry;
use symphonia::core::common::Tier;
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatReader, Track, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::packet::Packet;

use crate::adpcm;
use crate::container::{self, Blocks, Content, Span, Table, Trim, mpeg, ogg, unsupported};

/// Samples a second that a sound may have.
pub(crate) const RATES: std::ops::RangeInclusive<usize> = 1_000..=768_000;
/// Samples per channel that a lossy file may lack compared with its header, since encoders count padding differently:
/// two frames of MP3.
const SLACK: u64 = 2304;
/// Containers that declare their exact length.
const EXACT: [&str; 1] = ["flac"];

/// The most samples of all channels in a packet: a decoder allocates as many as the header claims.
const ROOM: u64 = 1 << 22;

/// A sound file that is being read.
pub(crate) struct Decoder<'a> {
    source: Source<'a>,
    codec: Box<dyn AudioDecoder>,
    track: u32,
    rate: u32,
    /// Samples per channel, by the header and so far.
    announced: Option<u64>,
    slack: u64,
    decoded: u64,
    packets: Packets,
    /// What is delay or padding, by the container: known once the rate is.
    trim: Trim,
    /// Samples of a packet, interleaved by channel, and their mean.
    interleaved: Vec<f32>,
    mono: Vec<f32>,
    /// The samples of the first packet, which told the rate.
    first: Vec<f32>,
}

#[derive(Default)]
struct Packets {
    seen: u64,
    lost: u64,
}

/// Where packets come from.
enum Source<'a> {
    Blocks(Blocks<'a>),
    Table(Table<'a>),
    /// A reader, with the file that it reads.
    Reader(Box<dyn FormatReader + 'a>, &'a [u8]),
}

impl Source<'_> {
    fn next(&mut self) -> Result<Option<Packet>, Error> {
        match self {
            Self::Blocks(blocks) => Ok(blocks.next()),
            Self::Table(table) => Ok(table.next()),
            Self::Reader(format, _) => format.next_packet(),
        }
    }

    /// The spans that are the sound, at `rate` samples a second.
    fn spans(&self, track: u32, rate: u32) -> Vec<Span> {
        match self {
            Self::Blocks(_) => vec![Span::default()],
            Self::Table(table) => vec![table.span()],
            Self::Reader(_, file) => container::spans(file, track, rate),
        }
    }
}

impl<'a> Decoder<'a> {
    /// Reads up to the first samples.
    pub(crate) fn open(bytes: &'a [u8]) -> Result<Self, ItemError> {
        if bytes.is_empty() {
            return Err(ItemError::new("an empty file"));
        }
        let mut decoder = match container::read(bytes)? {
            Content::Blocks(blocks) => Self::of_blocks(blocks)?,
            Content::Table(table) => Self::of_table(table)?,
            Content::Packets(bytes) => Self::of_packets(bytes)?,
        };
        let mut first = Vec::new();
        while first.is_empty() {
            if !decoder.packet(&mut first)? {
                return Err(ItemError::new("no samples in it"));
            }
        }
        decoder.first = first;
        Ok(decoder)
    }

    fn of_blocks(blocks: Blocks<'a>) -> Result<Self, ItemError> {
        let params = blocks.params();
        Ok(Self::new(Source::Blocks(blocks), make(&params).map_err(undecodable)?, 0, None, 0))
    }

    fn of_table(table: Table<'a>) -> Result<Self, ItemError> {
        if room(table.params()) > ROOM {
            return Err(undecodable("a packet claims an impossible length"));
        }
        let codec = make(table.params()).map_err(undecodable)?;
        Ok(Self::new(Source::Table(table), codec, 0, None, 0))
    }

    fn of_packets(bytes: &'a [u8]) -> Result<Self, ItemError> {
        let bytes = container::bare(bytes);
        if let Some(codec) = container::unknown_codec(bytes) {
            return Err(unsupported(&codec));
        }
        if container::is_impossible(bytes) {
            return Err(undecodable("a fragment claims an impossible number of packets"));
        }
        if bytes.is_empty() || ogg::is_cut(bytes) {
            return Err(cut());
        }
        let source = MediaSourceStream::new(Box::new(Cursor::new(container::readable(bytes))), Default::default());
        let probe = symphonia::default::get_probe();
        let format = probe.probe(&Hint::new(), source, Default::default(), Default::default());
        let format = format.map_err(|error| unopened(error, bytes))?;
        let (track, codec) = audio(&*format, bytes)?;
        let (id, announced) = (track.id, announced(&*format, track, bytes));
        let slack = if EXACT.contains(&format.format_info().short_name) { 0 } else { SLACK };
        Ok(Self::new(Source::Reader(format, bytes), codec, id, announced, slack))
    }

    fn new(source: Source<'a>, codec: Box<dyn AudioDecoder>, track: u32, announced: Option<u64>, slack: u64) -> Self {
        Self {
            source,
            codec,
            track,
            rate: 0,
            announced,
            slack,
            decoded: 0,
            packets: Packets::default(),
            trim: Trim::default(),
            interleaved: Vec::new(),
            mono: Vec::new(),
            first: Vec::new(),
        }
    }

    /// Samples a second.
    pub(crate) fn rate(&self) -> u32 {
        self.rate
    }

    /// Appends the mean of all channels of the next packet to `mono`; false at the end of the sound.
    pub(crate) fn read(&mut self, mono: &mut Vec<f32>) -> Result<bool, ItemError> {
        if self.first.is_empty() {
            return self.packet(mono);
        }
        mono.append(&mut self.first);
        Ok(true)
    }

    fn packet(&mut self, mono: &mut Vec<f32>) -> Result<bool, ItemError> {
        let packet = match self.source.next() {
            Ok(Some(packet)) => packet,
            Ok(None) => return self.end().map(|()| false),
            Err(Error::IoError(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                return self.end().map(|()| false);
            }
            // Another sound follows in the same file.
            Err(Error::ResetRequired) => {
                let Source::Reader(format, bytes) = &self.source else { return self.end().map(|()| false) };
                let (track, codec) = audio(&**format, bytes)?;
                (self.track, self.codec, self.announced) = (track.id, codec, None);
                return Ok(true);
            }
            Err(error) => return Err(undecodable(error)),
        };
        if packet.track_id != self.track {
            return Ok(true);
        }
        self.packets.seen += 1;
        let decoded = match self.codec.decode(&packet) {
            Ok(decoded) => decoded,
            // As players do: what is broken is left out, unless it is much (see `end`).
            Err(Error::DecodeError(_) | Error::IoError(_)) => {
                self.packets.lost += 1;
                return Ok(true);
            }
            Err(error) => return Err(undecodable(error)),
        };
        let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
        if decoded.frames() == 0 || channels == 0 {
            return Ok(true);
        }
        match self.rate {
            0 if RATES.contains(&(rate as usize)) => {
                self.rate = rate;
                self.trim = Trim::new(self.source.spans(self.track, rate));
            }
            0 => {
                return Err(ItemError::new(format!(
                    "its sample rate is {rate} Hz; it must be between 1000 and 768000 Hz"
                )));
            }
            before if before != rate => {
                let message = format!("its sample rate changes from {before} to {rate} Hz; split the file");
                return Err(ItemError::new(message));
            }
            _ => {}
        }
        self.interleaved.resize(decoded.samples_interleaved(), 0.0);
        decoded.copy_to_slice_interleaved(&mut self.interleaved);
        self.decoded += decoded.frames() as u64;
        let means = self.interleaved.chunks_exact(channels).map(|frame| frame.iter().sum::<f32>() / channels as f32);
        self.mono.clear();
        self.mono.extend(means);
        self.trim.pass(&self.mono, mono);
        Ok(true)
    }

    /// Checks that the sound is complete.
    fn end(&self) -> Result<(), ItemError> {
        let Packets { seen, lost } = self.packets;
        if lost * 10 > seen {
            return Err(undecodable(format_args!("broken packets: {lost} of {seen}")));
        }
        match self.announced {
            Some(announced) if self.decoded + self.slack.min(announced / 2) < announced => Err(cut()),
            _ => Ok(()),
        }
    }
}

/// The first sound track, and its decoder.
fn audio<'f>(format: &'f dyn FormatReader, bytes: &[u8]) -> Result<(&'f Track, Box<dyn AudioDecoder>), ItemError> {
    let (track, params) = match container::params(bytes) {
        Some((id, params)) => (format.tracks().iter().find(|track| track.id == id), Some(params)),
        None => {
            let track = format.default_track(TrackType::Audio);
            (track, track.and_then(|track| track.codec_params.as_ref()?.audio().cloned()))
        }
    };
    let (Some(track), Some(mut params)) = (track, params) else { return Err(ItemError::new("no sound in it")) };
    if room(&params) > ROOM {
        return Err(undecodable("a packet claims an impossible length"));
    }
    container::mend(bytes, track.id, &mut params);
    let name =
        || symphonia::default::get_codecs().get_audio_decoder(params.codec).map(|known| known.codec.info.long_name);
    let codec = make(&params);
    Ok((track, codec.map_err(|error| unsupported(&format!("{} ({error})", name().unwrap_or("an unknown one"))))?))
}

/// A decoder: ours of ADPCM, whose samples are libsndfile's, before the library's.
fn make(params: &AudioCodecParameters) -> Result<Box<dyn AudioDecoder>, Error> {
    static CODECS: LazyLock<CodecRegistry> = LazyLock::new(|| {
        let mut codecs = CodecRegistry::new();
        symphonia::default::register_enabled_codecs(&mut codecs);
        codecs.register_audio_decoder_at_tier::<adpcm::Adpcm>(Tier::Preferred);
        codecs
    });
    CODECS.make_audio_decoder(params, &Default::default())
}

/// Samples of all channels in a packet, by the header.
fn room(params: &AudioCodecParameters) -> u64 {
    let channels = params.channels.as_ref().map_or(1, |channels| channels.count() as u64);
    channels.saturating_mul(params.max_frames_per_packet.unwrap_or(1))
}

/// Samples per channel, if the header gives an exact number.
fn announced(format: &dyn FormatReader, track: &Track, bytes: &[u8]) -> Option<u64> {
    let guessed = match format.format_info().short_name {
        "aac" => true,
        name => name.starts_with("mp") && !mpeg::is_counted(bytes),
    };
    track.num_frames.filter(|_| !guessed)
}

pub(crate) fn cut() -> ItemError {
    ItemError::new("the file is truncated: it ends within the sound")
}

fn unopened(error: Error, bytes: &[u8]) -> ItemError {
    match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => cut(),
        // An MP4 file, whose index mostly comes last, or one of Matroska.
        Error::IoError(_) | Error::Unsupported(_)
            if bytes.get(4..8).is_some_and(|name| name == b"ftyp") || bytes.starts_with(b"\x1a\x45\xdf\xa3") =>
        {
            cut()
        }
        Error::IoError(_) | Error::Unsupported(_) => {
            ItemError::new("not a sound: neither WAV, AIFF, AU, CAF, FLAC, MP3, Ogg, M4A, AAC nor Matroska")
        }
        error => undecodable(error),
    }
}

pub(crate) fn undecodable(error: impl std::fmt::Display) -> ItemError {
    ItemError::new(format!("cannot decode the sound: {error}"))
}
