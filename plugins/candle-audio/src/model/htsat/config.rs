//! The settings of a CLAP checkpoint for its audio tower, with the defaults of the `transformers` package.

use candle_core::{Result, bail};
use candle_nn::Activation;
use serde::Deserialize;

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

impl Config {
    /// Checks that this plugin supports the model.
    pub(crate) fn check(&self) -> Result<()> {
        let (size, mels, patch) = (self.spec_size, self.num_mel_bins, self.patch_size);
        if self.enable_fusion {
            bail!("`enable_fusion`: this plugin supports only unfused CLAP, such as laion/clap-htsat-unfused");
        }
        if self.patch_stride.iter().any(|&stride| stride != patch) {
            bail!("patches of {patch} that overlap (`patch_stride`) are not supported");
        }
        if self.depths.is_empty() || self.depths.len() != self.num_attention_heads.len() {
            bail!("`depths` and `num_attention_heads` have different lengths");
        }
        let last = patch << (self.depths.len() - 1);
        if mels == 0 || !size.is_multiple_of(mels) || last == 0 || !size.is_multiple_of(last) {
            bail!("a spectrogram of {size} (`spec_size`) does not divide into {mels} mels and patches of {patch}");
        }
        Ok(())
    }

    /// Frames of the folded spectrogram: it has `spec_size` rows, of which each fold fills `num_mel_bins`.
    pub(super) fn frames(&self) -> usize {
        self.spec_size * (self.spec_size / self.num_mel_bins.max(1))
    }
}
