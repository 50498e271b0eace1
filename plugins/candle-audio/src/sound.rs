//! A sound file as a stream of windows at the model's rate: however long it is, one window is in memory.

use fusemix_sdk::ItemError;
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::decode::Decoder;
use crate::resample::Resampler;

pub(crate) struct Sound<'a> {
    decoder: Decoder<'a>,
    resampler: Resampler,
    packet: Vec<f32>,
    /// At the model's rate, and not part of a window yet.
    samples: Vec<f32>,
    over: bool,
}

impl<'a> Sound<'a> {
    /// `rate`: the samples a second that the model reads.
    pub(crate) fn open(bytes: &'a [u8], rate: u32) -> Result<Self, ItemError> {
        guarded(|| {
            let decoder = Decoder::open(bytes)?;
            let resampler = Resampler::new(decoder.rate(), rate)?;
            Ok(Self { decoder, resampler, packet: Vec::new(), samples: Vec::new(), over: false })
        })
    }

    /// The next `length` samples, or fewer at the end; none when the sound is over.
    pub(crate) fn window(&mut self, length: usize) -> Result<Vec<f32>, ItemError> {
        guarded(|| {
            while !self.over && self.samples.len() < length {
                self.over = !self.decoder.read(&mut self.packet)?;
                if self.packet.iter().any(|sample| !sample.is_finite()) {
                    return Err(ItemError::new("a sample in it is not a number"));
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

/// A decoder that panics costs the sound that it stumbled over, and no other.
fn guarded<T>(work: impl FnOnce() -> Result<T, ItemError>) -> Result<T, ItemError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ItemError::new("the sound does not decode: its decoder panicked")))
}
