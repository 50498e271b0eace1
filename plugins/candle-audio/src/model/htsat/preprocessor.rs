//! The settings of a CLAP checkpoint for its feature extractor.

use candle_core::{Result, bail};
use serde::Deserialize;

use super::Config;
use crate::decode::RATES;
use crate::mel::Parameters;
use crate::model::front_end::{FrontEnd, MELS, even, in_range, only};

/// preprocessor_config.json. The default is that of LAION's unfused CLAPs; missing keys have the defaults of the
/// `transformers` package.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Preprocessor {
    pub(super) feature_size: usize,
    pub(super) sampling_rate: u32,
    pub(super) hop_length: usize,
    /// Seconds.
    pub(super) max_length_s: usize,
    pub(super) fft_window_size: usize,
    #[serde(default)]
    pub(super) frequency_min: f64,
    pub(super) frequency_max: f64,
    /// The kind of truncation, which also chooses the mels: fused CLAP has others.
    #[serde(default = "fusion")]
    pub(super) truncation: String,
    pub(super) padding: String,
    #[serde(skip)]
    pub(super) repeated: Repeated,
}

/// The part of a short sound that is repeated to fill its window.
#[derive(Clone, Copy, Default, PartialEq)]
pub(crate) enum Repeated {
    /// Its samples, as often as they fit; silence is the rest.
    #[default]
    Samples,
    /// The frames of its spectrogram, as often as they fit, and stretched.
    Frames,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Self {
            feature_size: 64,
            sampling_rate: 48_000,
            hop_length: 480,
            max_length_s: 10,
            fft_window_size: 1024,
            frequency_min: 50.0,
            frequency_max: 14_000.0,
            truncation: "rand_trunc".to_owned(),
            padding: "repeatpad".to_owned(),
            repeated: Repeated::Samples,
        }
    }
}

fn fusion() -> String {
    "fusion".to_owned()
}

impl FrontEnd for Preprocessor {
    type Config = Config;

    fn check(&self, config: &Config) -> Result<()> {
        only("truncation", &*self.truncation, "rand_trunc")?;
        only("padding", &*self.padding, "repeatpad")?;
        in_range("`sampling_rate`", self.sampling_rate as usize, RATES)?;
        in_range("`hop_length`", self.hop_length, 1..=self.sampling_rate as usize)?;
        in_range("`max_length_s`", self.max_length_s, 1..=3600)?;
        even("fft_window_size", self.fft_window_size)?;
        let (from, to) = (self.frequency_min, self.frequency_max);
        if from < 0.0 || from >= to {
            bail!("`frequency_min` is {from} and `frequency_max` is {to}, with nothing between them");
        }
        let mels = config.num_mel_bins;
        in_range("`num_mel_bins` of config.json", mels, MELS)?;
        if self.feature_size != mels {
            bail!("`feature_size` is {}, but `num_mel_bins` of config.json is {mels}", self.feature_size);
        }
        let (frames, most) = (self.window() / self.hop_length + 1, config.frames());
        if frames > most {
            let (seconds, hop, size) = (self.max_length_s, self.hop_length, config.spec_size);
            bail!(
                "`max_length_s` is {seconds}, from which a `hop_length` of {hop} makes {frames} frames, but a \
                 spectrogram of {size} (`spec_size` of config.json) with {mels} mels holds {most}"
            );
        }
        Ok(())
    }
}

impl Preprocessor {
    /// Samples of a window.
    pub(super) fn window(&self) -> usize {
        self.max_length_s * self.sampling_rate as usize
    }

    pub(super) fn parameters(&self) -> Parameters {
        Parameters {
            rate: self.sampling_rate,
            frame: self.fft_window_size,
            hop: self.hop_length,
            mels: self.feature_size,
            from: self.frequency_min,
            to: self.frequency_max,
        }
    }
}
