//! ADPCM of IMA (in WAV, and Apple's) and of Microsoft, with libsndfile's samples: other decoders round differently,
//! and the difference grows along a block. A packet is a block.

use symphonia::core::audio::{AsGenericAudioBufferRef, AudioBuffer, AudioMut, AudioSpec, GenericAudioBufferRef};
use symphonia::core::codecs::CodecInfo;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_QT, CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};
use symphonia::core::codecs::audio::{
    AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions, FinalizeResult,
};
use symphonia::core::codecs::registry::{RegisterableAudioDecoder, SupportedAudioCodec};
use symphonia::core::errors::{Error, Result};
use symphonia::core::packet::PacketRef;

/// IMA's changes of the step's index, by the lower three bits of a code.
const INDEX_CHANGES: [i32; 8] = [-1, -1, -1, -1, 2, 4, 6, 8];
/// IMA's steps.
const STEPS: [i32; 89] = [
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66, 73, 80, 88, 97, 107,
    118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449, 494, 544, 598, 658, 724, 796, 876, 963,
    1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894,
    6484, 7132, 7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794,
    32767,
];
/// Microsoft's changes of the step in 256ths, by the code.
const STEP_CHANGES: [i32; 16] = [230, 230, 230, 230, 307, 409, 512, 614, 768, 614, 512, 409, 307, 230, 230, 230];
/// Microsoft's predictors: the weights of the last two samples in 256ths.
const WEIGHTS: [[i32; 2]; 7] = [[256, 0], [512, -256], [0, 0], [192, 64], [240, 0], [460, -208], [392, -232]];

static SUPPORTED: [SupportedAudioCodec; 3] = [
    supported(CODEC_ID_ADPCM_IMA_WAV, "adpcm_ima_wav", "IMA ADPCM"),
    supported(CODEC_ID_ADPCM_IMA_QT, "adpcm_ima_qt", "IMA ADPCM of QuickTime"),
    supported(CODEC_ID_ADPCM_MS, "adpcm_ms", "Microsoft ADPCM"),
];

const fn supported(id: AudioCodecId, short_name: &'static str, long_name: &'static str) -> SupportedAudioCodec {
    SupportedAudioCodec { id, info: CodecInfo { short_name, long_name, profiles: &[] } }
}

pub(crate) struct Adpcm {
    params: AudioCodecParameters,
    channels: usize,
    buffer: AudioBuffer<i16>,
}

impl Adpcm {
    fn decode(&mut self, block: &[u8]) -> Result<()> {
        let channels = match self.params.codec {
            CODEC_ID_ADPCM_IMA_WAV => ima(block, self.channels),
            CODEC_ID_ADPCM_IMA_QT => ima4(block, self.channels),
            _ => microsoft(block, self.channels),
        };
        let channels = channels.ok_or(Error::DecodeError("adpcm: the block is too short"))?;
        let frames = channels.iter().map(Vec::len).min().unwrap_or(0).min(self.buffer.capacity());
        self.buffer.render_uninit(Some(frames));
        for (index, samples) in channels.iter().enumerate() {
            let plane = self.buffer.plane_mut(index).ok_or(Error::DecodeError("adpcm: no such channel"))?;
            plane[..frames].copy_from_slice(&samples[..frames]);
        }
        Ok(())
    }
}

/// A channel of IMA's.
struct Ima {
    sample: i32,
    index: i32,
}

impl Ima {
    /// Indices that do not exist are the nearest that do.
    fn new(sample: i16, index: u8) -> Self {
        Self { sample: sample.into(), index: i32::from(index).min(88) }
    }

    fn next(&mut self, code: u8) -> i16 {
        let step = STEPS[self.index as usize];
        let part = |bit: u8, part: i32| if code & bit == 0 { 0 } else { part };
        let change = (step >> 3) + part(1, step >> 2) + part(2, step >> 1) + part(4, step);
        let change = if code & 8 == 0 { change } else { -change };
        self.sample = (self.sample + change).clamp(i16::MIN.into(), i16::MAX.into());
        self.index = (self.index + INDEX_CHANGES[usize::from(code & 7)]).clamp(0, 88);
        self.sample as i16
    }

    /// The lower half of a byte comes first.
    fn two(&mut self, byte: u8) -> [i16; 2] {
        [self.next(byte & 15), self.next(byte >> 4)]
    }
}

/// A block in WAV: of each channel a sample, an index and a zero; then of each channel four bytes in turn.
fn ima(block: &[u8], channels: usize) -> Option<Vec<Vec<i16>>> {
    let (headers, codes) = block.split_at_checked(4 * channels)?;
    let headers = headers.as_chunks::<4>().0.iter();
    let mut states: Vec<Ima> =
        headers.map(|&[low, high, index, _]| Ima::new(i16::from_le_bytes([low, high]), index)).collect();
    let mut samples: Vec<Vec<i16>> = states.iter().map(|state| vec![state.sample as i16]).collect();
    for (turn, bytes) in codes.chunks_exact(4).enumerate() {
        let channel = turn % channels;
        bytes.iter().for_each(|&byte| samples[channel].extend(states[channel].two(byte)));
    }
    Some(samples)
}

/// A block of Apple's: for each channel the upper nine bits of a sample, seven bits of index, and 32 bytes.
fn ima4(block: &[u8], channels: usize) -> Option<Vec<Vec<i16>>> {
    let blocks = block.chunks_exact(34).map(|block| {
        let mut state = Ima::new(i16::from_be_bytes([block[0], block[1] & 0x80]), block[1] & 0x7f);
        block[2..].iter().flat_map(|&byte| state.two(byte)).collect()
    });
    Some(blocks.collect()).filter(|blocks: &Vec<_>| blocks.len() == channels)
}

/// A channel of Microsoft's: its weights, its step, and its last two samples, the later one first.
struct Microsoft {
    weights: [i32; 2],
    step: i32,
    last: [i32; 2],
}

impl Microsoft {
    fn next(&mut self, code: u8) -> i16 {
        let predicted = (self.last[0] * self.weights[0] + self.last[1] * self.weights[1]) >> 8;
        let signed = i32::from(code) - if code & 8 == 0 { 0 } else { 16 };
        let sample = (signed * self.step + predicted).clamp(i16::MIN.into(), i16::MAX.into());
        let step = (i64::from(STEP_CHANGES[usize::from(code)]) * i64::from(self.step)) >> 8;
        self.step = step.clamp(16, i64::from(i16::MAX) << 8) as i32;
        self.last = [sample, self.last[0]];
        sample as i16
    }
}

/// A block of Microsoft's: of each channel the predictor's number; then the step; then the later of two samples, then
/// the earlier one; then codes of each channel in turn, the upper half of a byte first.
fn microsoft(block: &[u8], channels: usize) -> Option<Vec<Vec<i16>>> {
    let (header, codes) = block.split_at_checked(7 * channels)?;
    let number = |field: usize, channel: usize| {
        let at = channels * (1 + 2 * field) + 2 * channel;
        i32::from(i16::from_le_bytes([header[at], header[at + 1]]))
    };
    let state = |channel: usize| {
        let weights = *WEIGHTS.get(usize::from(header[channel]))?;
        Some(Microsoft { weights, step: number(0, channel), last: [number(1, channel), number(2, channel)] })
    };
    let mut states: Vec<Microsoft> = (0..channels).map(state).collect::<Option<_>>()?;
    let mut samples: Vec<Vec<i16>> =
        states.iter().map(|state| vec![state.last[1] as i16, state.last[0] as i16]).collect();
    for (turn, code) in codes.iter().flat_map(|&byte| [byte >> 4, byte & 15]).enumerate() {
        let channel = turn % channels;
        samples[channel].push(states[channel].next(code));
    }
    Some(samples)
}

impl AudioDecoder for Adpcm {
    fn reset(&mut self) {}

    fn codec_info(&self) -> &CodecInfo {
        let own = SUPPORTED.iter().position(|known| known.id == self.params.codec).unwrap_or(0);
        &Self::supported_codecs()[own].info
    }

    fn codec_params(&self) -> &AudioCodecParameters {
        &self.params
    }

    fn decode_ref(&mut self, packet: &PacketRef<'_>) -> Result<GenericAudioBufferRef<'_>> {
        self.buffer.clear();
        self.decode(packet.data)?;
        Ok(self.buffer.as_generic_audio_buffer_ref())
    }

    fn finalize(&mut self) -> FinalizeResult {
        FinalizeResult::default()
    }

    fn last_decoded(&self) -> GenericAudioBufferRef<'_> {
        self.buffer.as_generic_audio_buffer_ref()
    }
}

impl RegisterableAudioDecoder for Adpcm {
    fn try_registry_new(params: &AudioCodecParameters, _: &AudioDecoderOptions) -> Result<Box<dyn AudioDecoder>> {
        let (Some(rate), Some(channels)) = (params.sample_rate, params.channels.clone()) else {
            return Err(Error::Unsupported("adpcm: neither a rate nor channels"));
        };
        let frames = params.max_frames_per_packet.unwrap_or(0) as usize;
        let count = channels.count();
        let buffer = AudioBuffer::new(AudioSpec::new(rate, channels), frames);
        Ok(Box::new(Self { params: params.clone(), channels: count, buffer }))
    }

    fn supported_codecs() -> &'static [SupportedAudioCodec] {
        &SUPPORTED
    }
}
