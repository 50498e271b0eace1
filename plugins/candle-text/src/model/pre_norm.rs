//! The transformer that the text towers of CLIP and SigLIP share: learnt positions, then blocks that normalise their
//! input.

use candle_core::{Result, Tensor};
use candle_kit::nn::{Act, LayerNorm, Linear, Packing, Seen, attention_within, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::{Module, VarBuilder};
use serde::{Deserialize, Serialize};

use super::{Outline, Pass};

/// config.json, or its `text_config`. Each family has its own defaults.
#[derive(Deserialize, Serialize)]
pub(super) struct Config {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    hidden_act: Act,
    layer_norm_eps: f64,
    /// CLIP's.
    pub(super) projection_dim: usize,
    /// CLIP's.
    pub(super) eos_token_id: u32,
    /// SigLIP's; null for its `hidden_size`.
    pub(super) projection_size: Option<usize>,
}

impl Config {
    pub(super) fn clip() -> Self {
        Self {
            vocab_size: 49_408,
            hidden_size: 512,
            num_hidden_layers: 12,
            num_attention_heads: 8,
            intermediate_size: 2048,
            max_position_embeddings: 77,
            hidden_act: Act::QuickGelu,
            layer_norm_eps: 1e-5,
            projection_dim: 512,
            eos_token_id: 49_407,
            projection_size: None,
        }
    }

    pub(super) fn siglip() -> Self {
        Self {
            vocab_size: 32_000,
            hidden_size: 768,
            num_attention_heads: 12,
            intermediate_size: 3072,
            max_position_embeddings: 64,
            hidden_act: Act::GeluPytorchTanh,
            layer_norm_eps: 1e-6,
            ..Self::clip()
        }
    }
}

pub(super) struct PreNorm {
    /// `vocab_size x hidden_size`
    token_embedding: Tensor,
    /// `positions x hidden_size`
    position_embedding: Tensor,
    layers: Vec<Block>,
    final_layer_norm: LayerNorm,
    seen: Seen,
}

impl PreNorm {
    /// `seen` are the tokens that each token attends to.
    pub(super) fn load(config: &Config, seen: Seen, vb: VarBuilder<'_>) -> Result<Self> {
        head_width(config.num_attention_heads, config.hidden_size)?;
        let table = |name, rows| vb.get((rows, config.hidden_size), &format!("embeddings.{name}.weight"));
        let layer = |index| Block::load(config, &vb.pp(format!("encoder.layers.{index}")));
        Ok(Self {
            token_embedding: table("token_embedding", config.vocab_size)?,
            position_embedding: table("position_embedding", config.max_position_embeddings)?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            final_layer_norm: LayerNorm::load(config.hidden_size, config.layer_norm_eps, vb.pp("final_layer_norm"))?,
            seen,
        })
    }

    pub(super) fn outline(&self, poolings: &'static [Pooling]) -> Outline {
        Outline::new(&self.token_embedding, self.position_embedding.dims()[0], self.layers.len(), poolings)
    }

    /// The states after the blocks before the layer; those of the last are normalised.
    pub(super) fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let positions = Tensor::new(pass.packing.positions(), ids.device())?;
        let words = self.token_embedding.index_select(ids, 0)?;
        let hidden = (words + self.position_embedding.index_select(&positions, 0)?)?;
        let hidden =
            pass.through(&self.layers, hidden, |layer, hidden| layer.forward(hidden, &self.seen, pass.packing))?;
        match pass.layer {
            Layer::Last => self.final_layer_norm.forward(&hidden),
            Layer::After(_) => Ok(hidden),
        }
    }
}

struct Block {
    heads: usize,
    layer_norm1: LayerNorm,
    /// `q_proj`, `k_proj` and `v_proj` side by side.
    qkv_proj: Linear,
    out_proj: Linear,
    layer_norm2: LayerNorm,
    /// With its activation.
    fc1: Linear,
    fc2: Linear,
}

impl Block {
    fn load(config: &Config, vb: &VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let attention = vb.pp("self_attn");
        let parts = ["q_proj", "k_proj", "v_proj"].map(|name| (hidden, attention.pp(name)));
        let norm = |name: &str| LayerNorm::load(hidden, config.layer_norm_eps, vb.pp(name));
        Ok(Self {
            heads: config.num_attention_heads,
            layer_norm1: norm("layer_norm1")?,
            qkv_proj: Linear::load_side_by_side(hidden, &parts)?,
            out_proj: Linear::load(hidden, hidden, attention.pp("out_proj"))?,
            layer_norm2: norm("layer_norm2")?,
            fc1: config.hidden_act.after(Linear::load(hidden, inner, vb.pp("mlp.fc1"))?),
            fc2: Linear::load(inner, hidden, vb.pp("mlp.fc2"))?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, seen: &Seen, packing: &Packing) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(&self.layer_norm1.forward(hidden)?)?;
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let context = attention_within(seen, &part(0)?, &part(1)?, &part(2)?, self.heads, packing)?;
        let hidden = self.out_proj.forward_sum(&context, hidden)?;
        let inner = self.fc1.forward(&self.layer_norm2.forward(&hidden)?)?;
        self.fc2.forward_sum(&inner, &hidden)
    }
}
