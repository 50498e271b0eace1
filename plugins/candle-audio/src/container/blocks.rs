//! Sound data in blocks of one size: the PCM and ADPCM of WAV, AIFF, AU and CAF files.

use fusemix_sdk::ItemError;
use std::ops::RangeInclusive;
use symphonia::core::audio::Channels;
use symphonia::core::codecs::audio::well_known::{
    CODEC_ID_ADPCM_IMA_QT, CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS, CODEC_ID_PCM_ALAW, CODEC_ID_PCM_F32BE,
    CODEC_ID_PCM_F32LE, CODEC_ID_PCM_F64BE, CODEC_ID_PCM_F64LE, CODEC_ID_PCM_MULAW, CODEC_ID_PCM_S8,
    CODEC_ID_PCM_S16BE, CODEC_ID_PCM_S16LE, CODEC_ID_PCM_S24BE, CODEC_ID_PCM_S24LE, CODEC_ID_PCM_S32BE,
    CODEC_ID_PCM_S32LE, CODEC_ID_PCM_U8,
};
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use crate::decode::{cut, undecodable};

/// Frames (a sample of each channel) of a packet of PCM.
const TOGETHER: usize = 2048;
/// Channels that a file may have, as in libsndfile.
const CHANNELS: RangeInclusive<u16> = 1..=1024;
/// Sizes that programs write to a pipe, where they cannot come back to the header: SoX (AIFF, and WAV), and -1 or the
/// largest number, less or more by what the header takes.
const UNKNOWN: [RangeInclusive<u64>; 5] = [
    0x7f00_0000..=0x7f00_1000,
    0x7fff_f000..=0x8000_1000,
    0xffff_f000..=0xffff_ffff,
    0x7fff_ffff_ffff_f000..=0x7fff_ffff_ffff_ffff,
    0xffff_ffff_ffff_f000..=0xffff_ffff_ffff_ffff,
];

/// How the data of a file are coded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Coding {
    codec: AudioCodecId,
    /// Bytes and frames of a block.
    bytes: usize,
    frames: usize,
    /// Samples a second.
    rate: u32,
    channels: u16,
}

/// The order of a number's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Order {
    Little,
    Big,
}

impl Order {
    pub(crate) fn u16(self, bytes: [u8; 2]) -> u16 {
        match self {
            Self::Little => u16::from_le_bytes(bytes),
            Self::Big => u16::from_be_bytes(bytes),
        }
    }

    pub(crate) fn u32(self, bytes: [u8; 4]) -> u32 {
        match self {
            Self::Little => u32::from_le_bytes(bytes),
            Self::Big => u32::from_be_bytes(bytes),
        }
    }
}

/// A way to write a sample in whole bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pcm {
    Signed(u16),
    Unsigned8,
    Float(u16),
    ALaw,
    MuLaw,
}

impl Coding {
    /// `None` if nobody decodes samples of that size.
    pub(crate) fn pcm(pcm: Pcm, order: Order, rate: u32, channels: u16) -> Option<Self> {
        let (codec, bytes) = match (pcm, order) {
            (Pcm::Signed(1), _) => (CODEC_ID_PCM_S8, 1),
            (Pcm::Unsigned8, _) => (CODEC_ID_PCM_U8, 1),
            (Pcm::Signed(2), Order::Little) => (CODEC_ID_PCM_S16LE, 2),
            (Pcm::Signed(2), Order::Big) => (CODEC_ID_PCM_S16BE, 2),
            (Pcm::Signed(3), Order::Little) => (CODEC_ID_PCM_S24LE, 3),
            (Pcm::Signed(3), Order::Big) => (CODEC_ID_PCM_S24BE, 3),
            (Pcm::Signed(4), Order::Little) => (CODEC_ID_PCM_S32LE, 4),
            (Pcm::Signed(4), Order::Big) => (CODEC_ID_PCM_S32BE, 4),
            (Pcm::Float(4), Order::Little) => (CODEC_ID_PCM_F32LE, 4),
            (Pcm::Float(4), Order::Big) => (CODEC_ID_PCM_F32BE, 4),
            (Pcm::Float(8), Order::Little) => (CODEC_ID_PCM_F64LE, 8),
            (Pcm::Float(8), Order::Big) => (CODEC_ID_PCM_F64BE, 8),
            (Pcm::ALaw, _) => (CODEC_ID_PCM_ALAW, 1),
            (Pcm::MuLaw, _) => (CODEC_ID_PCM_MULAW, 1),
            _ => return None,
        };
        Some(Self { codec, bytes: bytes * usize::from(channels), frames: 1, rate, channels })
    }

    /// Blocks of `bytes` for all channels: four bytes of header a channel, and two samples a byte.
    pub(crate) fn ima(bytes: usize, rate: u32, channels: u16) -> Self {
        let each = usize::from(channels).max(1);
        let frames = bytes.saturating_sub(4 * each) * 2 / each + 1;
        Self { codec: CODEC_ID_ADPCM_IMA_WAV, bytes, frames, rate, channels }
    }

    /// Apple's: 34 bytes and 64 samples for each channel.
    pub(crate) fn ima4(rate: u32, channels: u16) -> Self {
        Self { codec: CODEC_ID_ADPCM_IMA_QT, bytes: 34 * usize::from(channels), frames: 64, rate, channels }
    }

    /// Microsoft's: seven bytes of header a channel, with two samples in them.
    pub(crate) fn ms(bytes: usize, rate: u32, channels: u16) -> Self {
        let each = usize::from(channels).max(1);
        let frames = bytes.saturating_sub(7 * each) * 2 / each + 2;
        Self { codec: CODEC_ID_ADPCM_MS, bytes, frames, rate, channels }
    }
}

/// The blocks of a file that are not read yet.
pub(crate) struct Blocks<'a> {
    coding: Coding,
    data: &'a [u8],
}

impl<'a> Blocks<'a> {
    pub(crate) fn new(coding: Coding, data: &'a [u8]) -> Result<Self, ItemError> {
        if !CHANNELS.contains(&coding.channels) {
            return Err(undecodable(format_args!("its header claims {} channels", coding.channels)));
        }
        if coding.bytes == 0 {
            return Err(undecodable("its header claims blocks of 0 bytes"));
        }
        Ok(Self { coding, data })
    }

    pub(crate) fn params(&self) -> AudioCodecParameters {
        let Coding { codec, frames, rate, channels, .. } = self.coding;
        let mut params = AudioCodecParameters::new();
        params.for_codec(codec).with_sample_rate(rate).with_channels(Channels::Discrete(channels));
        params.with_max_frames_per_packet((if frames == 1 { TOGETHER } else { frames }) as u64);
        params.with_frames_per_block(frames as u64);
        params
    }

    /// A block of ADPCM, or so many of PCM. The last one may be shorter.
    pub(crate) fn next(&mut self) -> Option<Packet> {
        let Coding { bytes, frames, .. } = self.coding;
        let together = if frames == 1 { TOGETHER.min(self.data.len() / bytes) } else { 1 };
        let (packet, rest) = self.data.split_at((together * bytes).min(self.data.len()));
        if packet.is_empty() {
            return None;
        }
        self.data = rest;
        let duration = Duration::from((together * frames) as u64);
        Some(Packet::new(0, Timestamp::ZERO, duration, packet))
    }
}

/// The data of a chunk that claims `size` bytes, of what is left of its file: all of it if the writer did not know
/// the size. `header` are the bytes of the file before the data, which some writers count as well.
pub(crate) fn extent(rest: &[u8], size: u64, header: usize) -> Result<&[u8], ItemError> {
    let there = rest.len() as u64;
    let counted = (size.saturating_sub(there)) as usize;
    match size {
        0 => Ok(rest),
        _ if size <= there => Ok(&rest[..size as usize]),
        _ if UNKNOWN.iter().any(|sizes| sizes.contains(&size)) => Ok(rest),
        _ if counted == header || counted + 8 == header => Ok(rest),
        _ => Err(cut()),
    }
}
