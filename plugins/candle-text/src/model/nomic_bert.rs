//! Nomic BERT (nomic-embed-text-v1 and v1.5), with the names of its authors' code: the structure of [`New`] under other
//! names.

use candle_core::Result;
use candle_kit::Pooling;
use candle_kit::nn::{Rotary, head_width};
use candle_nn::{Activation, VarBuilder};
use serde::Deserialize;

use super::new::{Names, New, Shape, UpGate};
use super::supported::{NONE, OFF, Supported};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    n_embd: usize,
    n_head: usize,
    n_inner: usize,
    n_layer: usize,
    n_positions: usize,
    /// Texts beyond it would need other angles.
    max_trained_positions: Option<usize>,
    type_vocab_size: usize,
    layer_norm_epsilon: f64,
    rotary_emb_base: f64,
}

/// Missing keys have the defaults of its authors' code, with biases and without rotary positions.
/// `rotary_scaling_factor` applies to texts longer than `max_trained_positions`.
pub(super) const SUPPORTED: &[Supported] = &[
    ("activation_function", &["\"swiglu\""]),
    ("causal", OFF),
    ("mlp_fc1_bias", &["false"]),
    ("mlp_fc2_bias", &["false"]),
    ("parallel_block", OFF),
    ("prenorm", OFF),
    ("qkv_proj_bias", &["false"]),
    ("rotary_emb_fraction", &["1.0", "1"]),
    ("rotary_emb_interleaved", OFF),
    ("rope_parameters", NONE),
    ("rope_scaling", NONE),
    ("rotary_emb_scale_base", NONE),
    ("use_rms_norm", OFF),
];

const NAMES: Names = Names {
    prefix: "bert",
    embeddings_norm: "emb_ln",
    layers: "encoder.layers",
    query_key_value: "attn.Wqkv",
    attention_output: "attn.out_proj",
    attention_norm: "norm1",
    up_gate: UpGate::Two("mlp.fc11", "mlp.fc12"),
    down: "mlp.fc2",
    output_norm: "norm2",
    poolings: &[Pooling::Mean, Pooling::Cls],
};

pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<New> {
    let d = head_width(config.n_head, config.n_embd)?;
    let shape = Shape {
        vocab_size: config.vocab_size,
        hidden_size: config.n_embd,
        layers: config.n_layer,
        heads: config.n_head,
        intermediate_size: config.n_inner,
        activation: Activation::Silu,
        max_positions: config.max_trained_positions.unwrap_or(config.n_positions).min(config.n_positions),
        token_types: config.type_vocab_size,
        eps: config.layer_norm_epsilon,
        biases: false,
    };
    New::load_with(&shape, Rotary::new(d, config.rotary_emb_base), &NAMES, vb)
}
