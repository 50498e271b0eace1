//! Mel spectrograms, equal to those of the transformers package's feature extractors: periodic Hann window, centred
//! frames over a reflected signal, power, Slaney's scale and norm, in f64.

use realfft::{RealFftPlanner, RealToComplex};
use std::sync::Arc;

/// The least power.
const FLOOR: f64 = 1e-10;

/// The settings of the spectrogram in a preprocessor_config.json.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parameters {
    /// Samples a second.
    pub(crate) rate: u32,
    /// Samples of a frame, and from one to the next.
    pub(crate) frame: usize,
    pub(crate) hop: usize,
    pub(crate) mels: usize,
    /// Lowest and highest frequency, in hertz.
    pub(crate) from: f64,
    pub(crate) to: f64,
}

pub(crate) struct Spectrogram {
    hop: usize,
    window: Vec<f64>,
    filters: Vec<Filter>,
    fft: Arc<dyn RealToComplex<f64>>,
}

/// A triangle over the frequencies from `first` on.
struct Filter {
    first: usize,
    weights: Vec<f64>,
}

impl Spectrogram {
    pub(crate) fn new(parameters: Parameters) -> Self {
        let Parameters { rate, frame, hop, .. } = parameters;
        let phase = |at: usize| std::f64::consts::TAU * at as f64 / frame as f64;
        let window = (0..frame).map(|at| 0.5 - 0.5 * phase(at).cos()).collect();
        let bin = f64::from(rate / 2) / (frame / 2) as f64;
        let edges = edges(parameters);
        let filters = edges.windows(3).map(|edge| Filter::new(edge[0], edge[1], edge[2], bin, frame / 2 + 1));
        Self { hop, window, filters: filters.collect(), fft: RealFftPlanner::new().plan_fft_forward(frame) }
    }

    /// True if `weights` (`frequencies x mels`, f32, possibly rounded to f16) are its triangles.
    pub(crate) fn filters_are(&self, weights: &[f32]) -> bool {
        let mels = self.filters.len();
        weights.len() == (self.window.len() / 2 + 1) * mels
            && weights.iter().enumerate().all(|(at, &weight)| {
                let Filter { first, weights } = &self.filters[at % mels];
                let own = (at / mels).checked_sub(*first).and_then(|bin| weights.get(bin)).copied().unwrap_or(0.0);
                (f64::from(weight) - own).abs() < 1e-4
            })
    }

    /// log10 of the powers (`frames x mels`) of `samples` with silence up to `length`, a frame every hop from the first
    /// sample to the last.
    pub(crate) fn log_mels(&self, samples: &[f32], length: usize, frames: usize) -> Vec<f64> {
        let size = self.window.len();
        let signal = reflected(samples, length, size / 2);
        let (mut buffer, mut spectrum) = (vec![0.0; size], self.fft.make_output_vec());
        let mut scratch = self.fft.make_scratch_vec();
        let mut mels = Vec::with_capacity(frames * self.filters.len());
        for frame in (0..frames).map(|frame| &signal[frame * self.hop..][..size]) {
            if frame.iter().all(|&sample| sample == 0.0) {
                mels.resize(mels.len() + self.filters.len(), FLOOR.log10());
                continue;
            }
            buffer
                .iter_mut()
                .zip(frame.iter().zip(&self.window))
                .for_each(|(to, (sample, weight))| *to = sample * weight);
            self.fft
                .process_with_scratch(&mut buffer, &mut spectrum, &mut scratch)
                .expect("buffers of the lengths that the plan asks for");
            let mel = |filter: &Filter| {
                let powers = spectrum[filter.first..].iter().zip(&filter.weights);
                powers.map(|(value, weight)| value.norm_sqr() * weight).sum::<f64>().max(FLOOR).log10()
            };
            mels.extend(self.filters.iter().map(mel));
        }
        mels
    }
}

impl Filter {
    /// Rises from `left` to `centre` and falls to `right` (hertz), its area the same for all; `bin` is the distance of
    /// two of the `bins` frequencies.
    fn new(left: f64, centre: f64, right: f64, bin: f64, bins: usize) -> Self {
        let weight = |at: usize| {
            let hertz = at as f64 * bin;
            let height = ((hertz - left) / (centre - left)).min((right - hertz) / (right - centre)).max(0.0);
            height * 2.0 / (right - left)
        };
        let first = (0..bins).find(|&at| weight(at) > 0.0).unwrap_or(0);
        let weights = (first..bins).map(weight).take_while(|&weight| weight > 0.0).collect();
        Self { first, weights }
    }
}

/// The corners of the triangles, in hertz: equally spaced on Slaney's scale.
fn edges(parameters: Parameters) -> Vec<f64> {
    // Linear up to 1 kHz, 200/3 Hz a mel; then logarithmic, 27 mels for each factor of 6.4.
    let step = 6.4f64.ln() / 27.0;
    let mel = |hertz: f64| if hertz < 1000.0 { hertz * 3.0 / 200.0 } else { 15.0 + (hertz / 1000.0).ln() / step };
    let hertz = |mel: f64| if mel < 15.0 { mel * 200.0 / 3.0 } else { 1000.0 * ((mel - 15.0) * step).exp() };
    let (from, to) = (mel(parameters.from), mel(parameters.to));
    let corners = parameters.mels + 2;
    (0..corners).map(|at| hertz(from + (to - from) * at as f64 / (corners - 1) as f64)).collect()
}

/// `samples`, silence up to `length`, and `margin` samples mirrored at either end.
fn reflected(samples: &[f32], length: usize, margin: usize) -> Vec<f64> {
    let mut signal = vec![0.0; length + 2 * margin];
    for (to, &sample) in signal[margin..][..length].iter_mut().zip(samples) {
        *to = f64::from(sample);
    }
    for at in 1..=margin.min(length - 1) {
        signal[margin - at] = signal[margin + at];
        signal[margin + length - 1 + at] = signal[margin + length - 1 - at];
    }
    signal
}
