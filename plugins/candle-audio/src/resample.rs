//! Streaming resampling from any rate to the model's.

use fusemix_sdk::ItemError;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// The minimum number of samples that are resampled together, at the lower of both rates. It is the length of the
/// filter, and makes its edge as steep as that of soxr, which librosa and many others use: leftovers of the highest
/// frequencies show in a latent.
const CHUNK: usize = 256;

/// The most source samples that may be resampled together: a few MB for each sound being read. Common rates need at
/// most 1,764.
const LARGEST: usize = 1 << 17;

/// A stream of samples at another rate, without delay, of `ceil(samples * to / from)` samples.
pub(crate) struct Resampler {
    from: u64,
    to: u64,
    /// `None` if the rates are equal.
    fft: Option<Fft<f32>>,
    /// Not resampled yet.
    waiting: Vec<f32>,
    /// Samples received, samples returned, and samples dropped at the start: the filter's delay.
    taken: u64,
    given: u64,
    skip: usize,
    out: Vec<f32>,
}

impl Resampler {
    pub(crate) fn new(from: u32, to: u32) -> Result<Self, ItemError> {
        let chunk = chunk(from as usize, to as usize);
        if chunk > LARGEST {
            return Err(ItemError::new(format!(
                "cannot convert its sample rate of {from} Hz to the model's {to} Hz; resample it to {to} Hz first"
            )));
        }
        let make = || Fft::new_custom(from as usize, to as usize, chunk, 1, 1, WINDOW, FixedSync::Input);
        let fft = (from != to).then(make).transpose().map_err(failed)?;
        let skip = fft.as_ref().map_or(0, rubato::Resampler::output_delay);
        let (waiting, out) = (Vec::new(), Vec::new());
        Ok(Self { from: from.into(), to: to.into(), fft, waiting, taken: 0, given: 0, skip, out })
    }

    /// Consumes all `samples`, and appends their resampled values to `resampled`.
    pub(crate) fn push(&mut self, samples: &mut Vec<f32>, resampled: &mut Vec<f32>) -> Result<(), ItemError> {
        self.taken += samples.len() as u64;
        let Some(fft) = &mut self.fft else {
            resampled.append(samples);
            return Ok(());
        };
        self.waiting.append(samples);
        let mut rest = &self.waiting[..];
        while let Some((chunk, others)) = rest.split_at_checked(fft.input_frames_next()) {
            self.out.resize(fft.output_frames_max(), 0.0);
            let room = self.out.len();
            let input = SequentialSlice::new(chunk, 1, chunk.len()).map_err(failed)?;
            let mut output = SequentialSlice::new_mut(&mut self.out, 1, room).map_err(failed)?;
            let (_, made) = fft.process_into_buffer(&input, &mut output, None).map_err(failed)?;
            let skipped = made.min(self.skip);
            self.skip -= skipped;
            self.given += (made - skipped) as u64;
            resampled.extend_from_slice(&self.out[skipped..made]);
            rest = others;
        }
        let done = self.waiting.len() - rest.len();
        self.waiting.drain(..done);
        Ok(())
    }

    /// Appends the remaining samples.
    pub(crate) fn finish(&mut self, resampled: &mut Vec<f32>) -> Result<(), ItemError> {
        let Some(fft) = &self.fft else { return Ok(()) };
        let (chunk, samples) = (fft.input_frames_max(), self.taken);
        let due = (samples * self.to).div_ceil(self.from);
        while self.given < due {
            self.push(&mut vec![0.0; chunk], resampled)?;
        }
        resampled.truncate(resampled.len() - (self.given - due) as usize);
        Ok(())
    }
}

/// The source samples that are resampled together: an even multiple of the rates' ratio, since the delay of an odd one
/// is not a whole number of samples.
fn chunk(from: usize, to: usize) -> usize {
    let (mut divisor, mut rest) = (from, to);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    let least = 2 * from.min(to) / divisor;
    2 * from / divisor * CHUNK.div_ceil(least)
}

const WINDOW: rubato::WindowFunction = rubato::WindowFunction::BlackmanHarris2;

fn failed(error: impl std::fmt::Display) -> ItemError {
    ItemError::new(format!("cannot resample it: {error}"))
}
