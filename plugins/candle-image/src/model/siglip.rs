//! The vision tower of SigLIP and of SigLIP 2 at a fixed size (Zhai et al., arXiv 2303.15343), with the names of the
//! `transformers` package.

use candle_core::{DType, Result, Tensor};
use candle_kit::checkpoint::within;
use candle_kit::nn::{LayerNorm, Linear, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Module, VarBuilder};

use super::Model;
use super::clip::block;
use super::config::Config;
use super::embeddings::Embeddings;
use super::patches::Patches;
use super::positions::Bicubic;
use super::states::States;
use super::transformer::Transformer;

pub(super) struct Siglip {
    width: usize,
    transformer: Transformer,
    post_layernorm: LayerNorm,
    head: Option<Head>,
}

impl Siglip {
    /// Loads the network for pictures of `size`: height and width.
    pub(super) fn load(config: &Config, size: [usize; 2], vb: VarBuilder<'_>) -> Result<Self> {
        let vb = within(vb, &["vision_model"], "embeddings.patch_embedding.weight");
        let width = config.hidden_size;
        head_width(config.num_attention_heads, width)?;
        let block = |index| block(config, &vb.pp(format!("encoder.layers.{index}")));
        let embeddings = vb.pp("embeddings");
        let patches = Patches::load(config.patch_size, 3, width, embeddings.pp("patch_embedding"))?;
        let table = embeddings.get_unchecked("position_embedding.weight")?;
        Ok(Self {
            width,
            transformer: Transformer {
                embeddings: Embeddings::new(patches, None, &table, size, Bicubic::Plain)?,
                pre_norm: None,
                blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?,
            },
            post_layernorm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("post_layernorm"))?,
            head: config.vision_use_head.then(|| Head::load(config, vb.pp("head"))).transpose()?,
        })
    }
}

/// Pooling by attention of a learnt probe over all tokens.
struct Head {
    /// `heads x d x 1`: the query of each head, scaled by `1 / sqrt(d)`. The probe is the same for all pictures.
    query: Tensor,
    /// Key and value side by side: `width -> 2 width`.
    key_value: Linear,
    out_proj: Linear,
    layernorm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl Head {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (width, inner, heads) = (config.hidden_size, config.intermediate_size, config.num_attention_heads);
        let attention = vb.pp("attention");
        let weight = attention.get((3 * width, width), "in_proj_weight")?;
        let bias = attention.get(3 * width, "in_proj_bias")?;
        let part = |from, rows| Linear::new(&weight.narrow(0, from, rows)?, &bias.narrow(0, from, rows)?);
        let query = part(0, width)?.forward(&vb.get((1, 1, width), "probe")?.squeeze(0)?)?;
        let d = width / heads;
        Ok(Self {
            query: (query.reshape((heads, d, 1))? / (d as f64).sqrt())?,
            key_value: part(width, 2 * width)?,
            out_proj: Linear::load(width, width, attention.pp("out_proj"))?,
            layernorm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("layernorm"))?,
            fc1: config.hidden_act.after(Linear::load(width, inner, vb.pp("mlp.fc1"))?),
            fc2: Linear::load(inner, width, vb.pp("mlp.fc2"))?,
        })
    }

    /// `pictures x width`
    fn forward(&self, states: &States) -> Result<Tensor> {
        let (heads, d, _) = self.query.dims3()?;
        let (pictures, width) = (states.pictures, heads * d);
        let key_value = self.key_value.forward(&states.tokens)?;
        // pictures x heads x tokens x d
        let part = |from| {
            let part = key_value.narrow(1, from, width)?.reshape((pictures, (), heads, d))?;
            part.transpose(1, 2)?.contiguous()
        };
        let scores = part(0)?.matmul(&self.query.broadcast_left(pictures)?.contiguous()?)?;
        let weights = softmax_last_dim(&scores.transpose(2, 3)?.contiguous()?)?;
        let x = weights.matmul(&part(width)?)?.reshape((pictures, width))?;
        let x = self.out_proj.forward(&x)?;
        self.fc2.forward_sum(&self.fc1.forward(&self.layernorm.forward(&x)?)?, &x)
    }
}

impl Model for Siglip {
    fn blocks(&self) -> usize {
        self.transformer.blocks.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        match self.head {
            Some(_) => &[Pooling::Pooler, Pooling::Mean],
            None => &[Pooling::Mean],
        }
    }

    fn width(&self, _: Layer, _: Pooling) -> usize {
        self.width
    }

    fn pictures(&self) -> usize {
        self.transformer.pictures()
    }

    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor> {
        let states = self.transformer.forward(x, layer)?;
        if let Layer::After(_) = layer {
            return states.pool(pooling);
        }
        let states = states.norm(&self.post_layernorm)?;
        match &self.head {
            Some(head) if pooling == Pooling::Pooler => head.forward(&states)?.to_dtype(DType::F32),
            _ => states.pool(pooling),
        }
    }
}
