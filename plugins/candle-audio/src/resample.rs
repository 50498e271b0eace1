//! From any rate to the model's, as samples come.

use fusemix_sdk::ItemError;
use rubato::audioadapter_buffers::direct::SequentialSlice;
use rubato::{Fft, FixedSync, Resampler as _};

/// Samples that are resampled together, at least, at the lower of both rates. It is the length of the filter, and makes
/// its edge as steep as soxr's, which librosa and many others resample with: what is left of the highest frequencies
/// shows in a latent.
const CHUNK: usize = 256;

/// Samples of the source that may be resampled together: a few MB for each sound that is read. Rates in use need 1,764
/// at most.
const LARGEST: usize = 1 << 17;

/// A stream of samples at another rate, without delay, of `ceil(samples * to / from)` samples.
pub(crate) struct Resampler {
    from: u64,
    to: u64,
    /// `None` if there is nothing to do.
    fft: Option<Fft<f32>>,
    /// Not resampled yet.
    waiting: Vec<f32>,
    /// Samples that came in, that went out, and that are left out at the start: the filter's delay.
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
                "its {from} samples a second have too little in common with the model's {to}: resample it to {to} first"
            )));
        }
        let make = || Fft::new_custom(from as usize, to as usize, chunk, 1, 1, WINDOW, FixedSync::Input);
        let fft = (from != to).then(make).transpose().map_err(failed)?;
        let skip = fft.as_ref().map_or(0, rubato::Resampler::output_delay);
        let (waiting, out) = (Vec::new(), Vec::new());
        Ok(Self { from: from.into(), to: to.into(), fft, waiting, taken: 0, given: 0, skip, out })
    }

    /// Takes all `samples`, and appends what they make to `resampled`.
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

    /// Appends what is left.
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

/// The source's samples that are resampled together: an even multiple of what the rates allow, for the delay of an odd
/// one is no whole number of samples.
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
    ItemError::new(format!("it does not resample: {error}"))
}
