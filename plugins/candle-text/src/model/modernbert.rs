//! ModernBERT, with the names of the `transformers` package.

use candle_core::{Result, Tensor, bail};
use candle_kit::checkpoint::within;
use candle_kit::nn::{Angles, LayerNorm, Linear, Packing, Rotary, Seen, attention_within, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::layers::{halves, linear};
use super::rope::{RopeParameters, rotary};
use super::supported::{NONE, Supported};
use super::{Model, Outline, Pass};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default)]
    hidden_activation: Activation,
    max_position_embeddings: usize,
    #[serde(default = "eps")]
    norm_eps: f64,
    #[serde(default)]
    norm_bias: bool,
    #[serde(default)]
    attention_bias: bool,
    #[serde(default)]
    mlp_bias: bool,
    #[serde(default = "window")]
    local_attention: usize,
    layer_types: Option<Vec<LayerType>>,
    #[serde(default = "three")]
    global_attn_every_n_layers: usize,
    rope_parameters: Option<RopeByLayer>,
    global_rope_theta: Option<f64>,
    local_rope_theta: Option<f64>,
}

pub(super) const SUPPORTED: &[Supported] = &[("rope_scaling", NONE)];

#[derive(Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum LayerType {
    FullAttention,
    SlidingAttention,
}

#[derive(Deserialize)]
struct RopeByLayer {
    full_attention: Option<RopeParameters>,
    sliding_attention: Option<RopeParameters>,
}

fn eps() -> f64 {
    1e-5
}

fn window() -> usize {
    128
}

fn three() -> usize {
    3
}

impl Config {
    fn layer_type(&self, index: usize) -> Result<LayerType> {
        match &self.layer_types {
            Some(types) => match types.get(index) {
                Some(&layer_type) => Ok(layer_type),
                None => bail!("`layer_types` ends before layer {index}"),
            },
            None if index.is_multiple_of(self.global_attn_every_n_layers.max(1)) => Ok(LayerType::FullAttention),
            None => Ok(LayerType::SlidingAttention),
        }
    }

    fn norm(&self, vb: VarBuilder<'_>) -> Result<LayerNorm> {
        match self.norm_bias {
            true => LayerNorm::load(self.hidden_size, self.norm_eps, vb),
            false => LayerNorm::load_without_bias(self.hidden_size, self.norm_eps, vb),
        }
    }
}

pub(super) struct ModernBert {
    /// `vocab_size x hidden_size`
    tok_embeddings: Tensor,
    embeddings_norm: LayerNorm,
    layers: Vec<Block>,
    final_norm: LayerNorm,
    full: Attention,
    sliding: Attention,
    max_positions: usize,
}

/// The common parts of the layers of one type.
struct Attention {
    seen: Seen,
    rotary: Rotary,
}

impl ModernBert {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let d = head_width(config.num_attention_heads, config.hidden_size)?;
        let vb = within(vb, &["model"], "embeddings.tok_embeddings.weight");
        let rope = config.rope_parameters.as_ref();
        let (full, global) = (rope.and_then(|rope| rope.full_attention.as_ref()), config.global_rope_theta);
        let (sliding, local) = (rope.and_then(|rope| rope.sliding_attention.as_ref()), config.local_rope_theta);
        let layer = |index| Block::load(&config, index, vb.pp("layers").pp(index));
        Ok(Self {
            tok_embeddings: vb.get((config.vocab_size, config.hidden_size), "embeddings.tok_embeddings.weight")?,
            embeddings_norm: config.norm(vb.pp("embeddings.norm"))?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            final_norm: config.norm(vb.pp("final_norm"))?,
            full: Attention { seen: Seen::default(), rotary: rotary(d, full, global.unwrap_or(160_000.0)) },
            sliding: Attention {
                seen: Seen::within(config.local_attention / 2),
                rotary: rotary(d, sliding, local.unwrap_or(10_000.0)),
            },
            max_positions: config.max_position_embeddings,
        })
    }
}

impl Model for ModernBert {
    fn outline(&self) -> Outline {
        Outline::new(&self.tok_embeddings, self.max_positions, self.layers.len(), &[Pooling::Mean, Pooling::Cls])
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let hidden = self.embeddings_norm.forward(&self.tok_embeddings.index_select(ids, 0)?)?;
        let angles = |attention: &Attention| attention.rotary.angles(pass.packing, ids.device());
        let (full, sliding) = (angles(&self.full)?, angles(&self.sliding)?);
        let hidden = pass.through(&self.layers, hidden, |block, hidden| match block.layer_type {
            LayerType::FullAttention => block.forward(hidden, &self.full.seen, &full, pass.packing),
            LayerType::SlidingAttention => block.forward(hidden, &self.sliding.seen, &sliding, pass.packing),
        })?;
        match pass.layer {
            Layer::Last => self.final_norm.forward(&hidden),
            Layer::After(_) => Ok(hidden),
        }
    }
}

struct Block {
    layer_type: LayerType,
    heads: usize,
    /// None in the first layer: the embeddings are normalised.
    attn_norm: Option<LayerNorm>,
    /// Query, key and value side by side: `hidden_size -> 3 hidden_size`.
    wqkv: Linear,
    attention_wo: Linear,
    mlp_norm: LayerNorm,
    /// The first half of `mlp.Wi`, with its activation.
    input: Linear,
    /// The second half.
    gate: Linear,
    mlp_wo: Linear,
}

impl Block {
    fn load(config: &Config, index: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let [input, gate] = halves(hidden, inner, config.mlp_bias, vb.pp("mlp.Wi"))?;
        Ok(Self {
            layer_type: config.layer_type(index)?,
            heads: config.num_attention_heads,
            attn_norm: if index == 0 { None } else { Some(config.norm(vb.pp("attn_norm"))?) },
            wqkv: linear(hidden, 3 * hidden, config.attention_bias, vb.pp("attn.Wqkv"))?,
            attention_wo: linear(hidden, hidden, config.attention_bias, vb.pp("attn.Wo"))?,
            mlp_norm: config.norm(vb.pp("mlp_norm"))?,
            input: input.then(config.hidden_activation),
            gate,
            mlp_wo: linear(inner, hidden, config.mlp_bias, vb.pp("mlp.Wo"))?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, seen: &Seen, angles: &Angles, packing: &Packing) -> Result<Tensor> {
        let qkv = match &self.attn_norm {
            Some(norm) => self.wqkv.forward(&norm.forward(hidden)?)?,
            None => self.wqkv.forward(hidden)?,
        };
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let (q, k) = (angles.turn(&part(0)?)?, angles.turn(&part(1)?)?);
        let context = attention_within(seen, &q, &k, &part(2)?, self.heads, packing)?;
        let hidden = self.attention_wo.forward_sum(&context, hidden)?;
        let normal = self.mlp_norm.forward(&hidden)?;
        let inner = (self.input.forward(&normal)? * self.gate.forward(&normal)?)?;
        self.mlp_wo.forward_sum(&inner, &hidden)
    }
}
