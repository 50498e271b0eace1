//! What a checkpoint of CLAP says of its audio tower; what it leaves out is as the `transformers` package has it.

use candle_core::{Result, bail};
use candle_nn::Activation;
use serde::Deserialize;

use crate::mel::Recipe;

/// config.json, or its `audio_config`.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Config {
    pub(super) window_size: usize,
    pub(super) num_mel_bins: usize,
    pub(super) spec_size: usize,
    pub(super) hidden_act: Activation,
    pub(super) patch_size: usize,
    pub(super) patch_stride: Vec<usize>,
    pub(super) hidden_size: usize,
    pub(crate) projection_dim: usize,
    pub(super) depths: Vec<usize>,
    pub(super) num_attention_heads: Vec<usize>,
    pub(super) enable_fusion: bool,
    pub(super) patch_embeds_hidden_size: usize,
    pub(super) mlp_ratio: f64,
    pub(super) projection_hidden_act: Activation,
    pub(super) layer_norm_eps: f64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            window_size: 8,
            num_mel_bins: 64,
            spec_size: 256,
            hidden_act: Activation::Gelu,
            patch_size: 4,
            patch_stride: vec![4, 4],
            hidden_size: 768,
            projection_dim: 512,
            depths: vec![2, 2, 6, 2],
            num_attention_heads: vec![4, 8, 16, 32],
            enable_fusion: false,
            patch_embeds_hidden_size: 96,
            mlp_ratio: 4.0,
            projection_hidden_act: Activation::Relu,
            layer_norm_eps: 1e-5,
        }
    }
}

/// preprocessor_config.json.
#[derive(Deserialize)]
#[serde(default)]
pub(crate) struct Preprocessor {
    pub(super) feature_size: usize,
    pub(super) sampling_rate: u32,
    pub(super) hop_length: usize,
    /// Seconds.
    pub(super) max_length_s: usize,
    pub(super) fft_window_size: usize,
    pub(super) frequency_min: f64,
    pub(super) frequency_max: f64,
    pub(super) padding: Padding,
}

/// How a short sound fills its window.
#[derive(Clone, Copy, Deserialize, PartialEq)]
pub(crate) enum Padding {
    /// Its samples are repeated as often as they fit; silence is the rest.
    #[serde(rename = "repeatpad")]
    Samples,
    /// The frames of its spectrogram are repeated as often as they fit, and stretched.
    #[serde(skip)]
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
            padding: Padding::Samples,
        }
    }
}

impl Preprocessor {
    pub(super) fn recipe(&self) -> Recipe {
        Recipe {
            rate: self.sampling_rate,
            frame: self.fft_window_size,
            hop: self.hop_length,
            mels: self.feature_size,
            from: self.frequency_min,
            to: self.frequency_max,
        }
    }
}

/// The spectrogram, if the two are ones that this plugin knows.
pub(super) fn recipe(config: &Config, preprocessor: &Preprocessor) -> Result<Recipe> {
    let (size, mels, patch) = (config.spec_size, config.num_mel_bins, config.patch_size);
    if config.enable_fusion {
        bail!("`enable_fusion`: this plugin knows unfused CLAP, such as laion/clap-htsat-unfused");
    }
    if preprocessor.feature_size != mels {
        bail!("preprocessor_config.json makes {} mels, and the model reads {mels}", preprocessor.feature_size);
    }
    if config.patch_stride.iter().any(|&stride| stride != patch) {
        bail!("patches of {patch} that overlap (`patch_stride`)");
    }
    if config.depths.is_empty() || config.depths.len() != config.num_attention_heads.len() {
        bail!("`depths` and `num_attention_heads` are not of the same stages");
    }
    let last = patch << (config.depths.len() - 1);
    if mels == 0 || !size.is_multiple_of(mels) || last == 0 || !size.is_multiple_of(last) {
        bail!("a spectrogram of {size} (`spec_size`) does not divide into {mels} mels and patches of {patch}");
    }
    let recipe = preprocessor.recipe();
    let (frames, most) = (preprocessor.max_length_s * recipe.rate as usize / recipe.hop + 1, size * (size / mels));
    if frames > most {
        bail!("a window has {frames} frames, and a spectrogram of {size} (`spec_size`) with {mels} mels holds {most}");
    }
    Ok(recipe)
}
