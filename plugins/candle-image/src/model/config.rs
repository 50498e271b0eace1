//! config.json of ViT, and of the vision towers of CLIP and SigLIP.

use candle_kit::nn::Act;
use serde::{Deserialize, Serialize};

/// Each family has its own defaults.
#[derive(Deserialize, Serialize)]
pub(super) struct Config {
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) hidden_act: Act,
    pub(super) layer_norm_eps: f64,
    pub(super) image_size: u32,
    pub(super) patch_size: usize,
    /// CLIP's.
    pub(super) projection_dim: usize,
    /// ViT's.
    pub(super) pooler_act: String,
    /// SigLIP's.
    pub(super) vision_use_head: bool,
}

impl Config {
    fn base(hidden_act: Act, layer_norm_eps: f64, patch_size: usize) -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act,
            layer_norm_eps,
            image_size: 224,
            patch_size,
            projection_dim: 512,
            pooler_act: "tanh".into(),
            vision_use_head: true,
        }
    }

    pub(super) fn vit() -> Self {
        Self::base(Act::Gelu, 1e-12, 16)
    }

    pub(super) fn clip() -> Self {
        Self::base(Act::QuickGelu, 1e-5, 32)
    }

    pub(super) fn siglip() -> Self {
        Self::base(Act::GeluPytorchTanh, 1e-6, 16)
    }
}
