//! A sound file as a stream of windows at the model's rate: however long it is, one window is in memory.

use candle_kit::guarded;
use fusemix_sdk::ItemError;

use crate::decode::Decoder;
use crate::resample::Resampler;

/// The largest absolute value of a sample: samples are between -1 and 1, or whole numbers of at most 32 bits, and a
/// resampler fails on the largest values that a file can hold.
const LOUDEST: f32 = 1e12;
/// The work that a panic interrupts.
const DOING: &str = "decoding it";

pub(crate) struct Sound<'a> {
    decoder: Decoder<'a>,
    resampler: Resampler,
    packet: Vec<f32>,
    /// At the model's rate, and not part of a window yet.
    samples: Vec<f32>,
    over: bool,
}

impl<'a> Sound<'a> {
    /// Opens a sound; `rate` is the model's samples per second.
    pub(crate) fn open(bytes: &'a [u8], rate: u32) -> Result<Self, ItemError> {
        guarded(DOING, || {
            let decoder = Decoder::open(bytes)?;
            let resampler = Resampler::new(decoder.rate(), rate)?;
            Ok(Self { decoder, resampler, packet: Vec::new(), samples: Vec::new(), over: false })
        })
    }

    /// The next `length` samples, or fewer at the end; none when the sound is over.
    pub(crate) fn window(&mut self, length: usize) -> Result<Vec<f32>, ItemError> {
        guarded(DOING, || {
            while !self.over && self.samples.len() < length {
                self.over = !self.decoder.read(&mut self.packet)?;
                // What is no number fails the comparison, too.
                if !self.packet.iter().all(|sample| sample.abs() <= LOUDEST) {
                    return Err(ItemError::new("a sample is not a number, or far too large for audio"));
                }
                match self.over {
                    false => self.resampler.push(&mut self.packet, &mut self.samples)?,
                    true => self.resampler.finish(&mut self.samples)?,
                }
            }
            let rest = self.samples.split_off(length.min(self.samples.len()));
            Ok(std::mem::replace(&mut self.samples, rest))
        })
    }

    /// Samples in memory.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.samples.capacity() + self.packet.capacity()
    }
}
