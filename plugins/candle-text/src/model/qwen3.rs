//! Qwen3 as an encoder (Qwen3-Embedding), with the names of the `transformers` package.

use candle_core::{Result, Tensor, bail};
use candle_kit::checkpoint::within;
use candle_kit::nn::{Angles, Linear, Packing, RmsNorm, Rotary, Seen, attention_within};
use candle_kit::{Layer, Pooling};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::layers::{linear, side_by_side};
use super::rope::{RopeParameters, rotary};
use super::supported::{OFF, Supported};
use super::{Model, Outline, Pass};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    num_key_value_heads: usize,
    head_dim: usize,
    intermediate_size: usize,
    hidden_act: Activation,
    max_position_embeddings: usize,
    rms_norm_eps: f64,
    #[serde(default)]
    attention_bias: bool,
    rope_parameters: Option<RopeParameters>,
    rope_scaling: Option<RopeParameters>,
    rope_theta: Option<f64>,
}

pub(super) const SUPPORTED: &[Supported] = &[("is_causal", &["true", "null"]), ("use_sliding_window", OFF)];

pub(super) struct Qwen3 {
    /// `vocab_size x hidden_size`
    embed_tokens: Tensor,
    layers: Vec<Block>,
    norm: RmsNorm,
    rotary: Rotary,
    max_positions: usize,
}

impl Qwen3 {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        if config.num_attention_heads.checked_rem(config.num_key_value_heads) != Some(0) {
            bail!("{} heads cannot share {} key heads", config.num_attention_heads, config.num_key_value_heads);
        }
        let rope = config.rope_parameters.as_ref().or(config.rope_scaling.as_ref());
        let rotary = rotary(config.head_dim, rope, config.rope_theta.unwrap_or(1_000_000.0));
        let vb = within(vb, &["model"], "embed_tokens.weight");
        let layer = |index| Block::load(&config, vb.pp("layers").pp(index));
        Ok(Self {
            embed_tokens: vb.get((config.vocab_size, config.hidden_size), "embed_tokens.weight")?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            norm: RmsNorm::load(config.hidden_size, config.rms_norm_eps, vb.pp("norm"))?,
            rotary,
            max_positions: config.max_position_embeddings,
        })
    }
}

impl Model for Qwen3 {
    fn outline(&self) -> Outline {
        Outline::new(&self.embed_tokens, self.max_positions, self.layers.len(), &[Pooling::Last, Pooling::Mean])
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let hidden = self.embed_tokens.index_select(ids, 0)?;
        let angles = self.rotary.angles(pass.packing, ids.device())?;
        let hidden =
            pass.through(&self.layers, hidden, |layer, hidden| layer.forward(hidden, &angles, pass.packing))?;
        match pass.layer {
            Layer::Last => self.norm.forward(&hidden),
            Layer::After(_) => Ok(hidden),
        }
    }
}

struct Block {
    heads: usize,
    shared_heads: usize,
    input_layernorm: RmsNorm,
    /// `q_proj`, `k_proj` and `v_proj` side by side.
    qkv_proj: Linear,
    q_norm: RmsNorm,
    k_norm: RmsNorm,
    o_proj: Linear,
    post_attention_layernorm: RmsNorm,
    /// With its activation.
    gate_proj: Linear,
    up_proj: Linear,
    down_proj: Linear,
}

impl Block {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner, d) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (heads, shared_heads) = (config.num_attention_heads, config.num_key_value_heads);
        let norm = |width, name: &str| RmsNorm::load(width, config.rms_norm_eps, vb.pp(name));
        let mlp = |inputs, outputs, name: &str| linear(inputs, outputs, false, vb.pp("mlp").pp(name));
        let attention = vb.pp("self_attn");
        let parts = [("q_proj", heads), ("k_proj", shared_heads), ("v_proj", shared_heads)];
        let parts = parts.map(|(name, heads)| (heads * d, attention.pp(name)));
        Ok(Self {
            heads,
            shared_heads,
            input_layernorm: norm(hidden, "input_layernorm")?,
            qkv_proj: side_by_side(hidden, &parts, config.attention_bias)?,
            q_norm: norm(d, "self_attn.q_norm")?,
            k_norm: norm(d, "self_attn.k_norm")?,
            o_proj: linear(heads * d, hidden, config.attention_bias, attention.pp("o_proj"))?,
            post_attention_layernorm: norm(hidden, "post_attention_layernorm")?,
            gate_proj: mlp(hidden, inner, "gate_proj")?.then(config.hidden_act),
            up_proj: mlp(hidden, inner, "up_proj")?,
            down_proj: mlp(inner, hidden, "down_proj")?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, angles: &Angles, packing: &Packing) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(&self.input_layernorm.forward(hidden)?)?;
        let (tokens, width) = qkv.dims2()?;
        let d = width / (self.heads + 2 * self.shared_heads);
        let part = |first: usize, heads: usize| qkv.narrow(1, first * d, heads * d);
        // Each head by itself.
        let normal = |norm: &RmsNorm, first, heads| {
            let heads = part(first, heads)?.contiguous()?.reshape((tokens * heads, d))?;
            norm.forward(&heads)?.reshape((tokens, ()))
        };
        let q = angles.turn(&normal(&self.q_norm, 0, self.heads)?)?;
        let k = angles.turn(&normal(&self.k_norm, self.heads, self.shared_heads)?)?;
        let v = part(self.heads + self.shared_heads, self.shared_heads)?;
        let context = attention_within(&Seen::causal(), &q, &k, &v, self.heads, packing)?;
        let hidden = self.o_proj.forward_sum(&context, hidden)?;
        let normal = self.post_attention_layernorm.forward(&hidden)?;
        let inner = (self.gate_proj.forward(&normal)? * self.up_proj.forward(&normal)?)?;
        self.down_proj.forward_sum(&inner, &hidden)
    }
}
