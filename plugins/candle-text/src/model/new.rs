//! Alibaba's NewModel (gte-base-en-v1.5, gte-multilingual-base; `gte` in snowflake-arctic-embed-m-v2.0 and in the
//! `transformers` package), with the names of its authors' code: a BERT with rotary positions and gated feed-forward
//! layers.

use candle_core::{Result, Tensor, bail};
use candle_kit::Pooling;
use candle_kit::checkpoint::within;
use candle_kit::nn::{Angles, LayerNorm, Linear, Packing, Rotary, attention, head_width};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::layers::{halves, linear, word_embeddings};
use super::rope::{RopeParameters, rotary};
use super::supported::{OFF, ROPE_TYPES_WITH_NTK, Supported};
use super::{Model, Outline, Pass};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: Activation,
    max_position_embeddings: usize,
    #[serde(default)]
    type_vocab_size: usize,
    layer_norm_eps: f64,
    rope_theta: Option<f64>,
    rope_scaling: Option<RopeParameters>,
    rope_parameters: Option<RopeParameters>,
}

pub(super) const SUPPORTED: &[Supported] = &[
    ("is_decoder", OFF),
    ("layer_norm_type", &["\"layer_norm\"", "null"]),
    ("logn_attention_clip1", OFF),
    ("logn_attention_scale", OFF),
    ("position_embedding_type", &["\"rope\"", "null"]),
    ("rope_parameters.rope_type", ROPE_TYPES_WITH_NTK),
    ("rope_scaling.rope_type", ROPE_TYPES_WITH_NTK),
    ("rope_scaling.type", ROPE_TYPES_WITH_NTK),
];

/// The sizes of a model of this structure.
pub(super) struct Shape {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) intermediate_size: usize,
    pub(super) activation: Activation,
    pub(super) max_positions: usize,
    pub(super) token_types: usize,
    pub(super) eps: f64,
    /// True if attention and the feed-forward layer's second half have biases.
    pub(super) biases: bool,
}

/// The names of a family's tensors.
pub(super) struct Names {
    /// Their prefix in the checkpoint of a model with a head.
    pub(super) prefix: &'static str,
    pub(super) embeddings_norm: &'static str,
    pub(super) layers: &'static str,
    pub(super) query_key_value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up_gate: UpGate,
    pub(super) down: &'static str,
    pub(super) output_norm: &'static str,
    /// The poolings on offer, beginning with that of its published checkpoints.
    pub(super) poolings: &'static [Pooling],
}

/// Names of the feed-forward layer's first half.
pub(super) enum UpGate {
    /// One tensor has both, one after the other.
    One(&'static str),
    Two(&'static str, &'static str),
}

const NEW: Names = Names {
    prefix: "new",
    embeddings_norm: "embeddings.LayerNorm",
    layers: "encoder.layer",
    query_key_value: "attention.qkv_proj",
    attention_output: "attention.o_proj",
    attention_norm: "attn_ln",
    up_gate: UpGate::One("mlp.up_gate_proj"),
    down: "mlp.down_proj",
    output_norm: "mlp_ln",
    poolings: &[Pooling::Cls, Pooling::Mean],
};

pub(super) struct New {
    /// `vocab_size x hidden_size`; the embedding of token type 0, which all tokens have, is in each row.
    word_embeddings: Tensor,
    embeddings_norm: LayerNorm,
    layers: Vec<Block>,
    rotary: Rotary,
    max_positions: usize,
    poolings: &'static [Pooling],
}

impl New {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let d = head_width(config.num_attention_heads, config.hidden_size)?;
        let rope = config.rope_parameters.as_ref().or(config.rope_scaling.as_ref());
        let Some(theta) = config.rope_theta.or(rope.and_then(|rope| rope.rope_theta)) else {
            bail!("`rope_theta` is missing");
        };
        let rotary = rotary(d, rope, theta);
        let shape = Shape {
            vocab_size: config.vocab_size,
            hidden_size: config.hidden_size,
            layers: config.num_hidden_layers,
            heads: config.num_attention_heads,
            intermediate_size: config.intermediate_size,
            activation: config.hidden_act,
            max_positions: config.max_position_embeddings,
            token_types: config.type_vocab_size,
            eps: config.layer_norm_eps,
            biases: true,
        };
        Self::load_with(&shape, rotary, &NEW, vb)
    }

    pub(super) fn load_with(shape: &Shape, rotary: Rotary, names: &Names, vb: VarBuilder<'_>) -> Result<Self> {
        let vb = within(vb, &[names.prefix], "embeddings.word_embeddings.weight");
        let layer = |index| Block::load(shape, names, vb.pp(names.layers).pp(index));
        Ok(Self {
            word_embeddings: word_embeddings(
                shape.vocab_size,
                shape.token_types,
                shape.hidden_size,
                vb.pp("embeddings"),
            )?,
            embeddings_norm: LayerNorm::load(shape.hidden_size, shape.eps, vb.pp(names.embeddings_norm))?,
            layers: (0..shape.layers).map(layer).collect::<Result<_>>()?,
            rotary,
            max_positions: shape.max_positions,
            poolings: names.poolings,
        })
    }
}

impl Model for New {
    fn outline(&self) -> Outline {
        Outline::new(&self.word_embeddings, self.max_positions, self.layers.len(), self.poolings)
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let hidden = self.embeddings_norm.forward(&self.word_embeddings.index_select(ids, 0)?)?;
        let angles = self.rotary.angles(pass.packing, ids.device())?;
        pass.through(&self.layers, hidden, |layer, hidden| layer.forward(hidden, &angles, pass.packing))
    }
}

struct Block {
    heads: usize,
    /// Side by side: `hidden_size -> 3 hidden_size`.
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    up: Linear,
    /// With its activation.
    gate: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

impl Block {
    fn load(shape: &Shape, names: &Names, vb: VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (shape.hidden_size, shape.intermediate_size);
        let linear = |inputs, outputs, name: &str| linear(inputs, outputs, shape.biases, vb.pp(name));
        let norm = |name: &str| LayerNorm::load(hidden, shape.eps, vb.pp(name));
        let [up, gate] = match names.up_gate {
            UpGate::One(name) => halves(hidden, inner, false, vb.pp(name))?,
            UpGate::Two(up, gate) => [
                Linear::load_without_bias(hidden, inner, vb.pp(up))?,
                Linear::load_without_bias(hidden, inner, vb.pp(gate))?,
            ],
        };
        Ok(Self {
            heads: shape.heads,
            query_key_value: linear(hidden, 3 * hidden, names.query_key_value)?,
            attention_output: linear(hidden, hidden, names.attention_output)?,
            attention_norm: norm(names.attention_norm)?,
            up,
            gate: gate.then(shape.activation),
            down: linear(inner, hidden, names.down)?,
            output_norm: norm(names.output_norm)?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, angles: &Angles, packing: &Packing) -> Result<Tensor> {
        let qkv = self.query_key_value.forward(hidden)?;
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let (q, k) = (angles.turn(&part(0)?)?, angles.turn(&part(1)?)?);
        let context = attention(&q, &k, &part(2)?, self.heads, packing)?;
        let hidden = self.attention_norm.forward_sum(&self.attention_output.forward(&context)?, hidden)?;
        let inner = (self.gate.forward(&hidden)? * self.up.forward(&hidden)?)?;
        self.output_norm.forward_sum(&self.down.forward(&inner)?, &hidden)
    }
}
