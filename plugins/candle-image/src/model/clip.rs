//! The vision tower of CLIP (Radford et al., arXiv 2103.00020), with the names of the `transformers` package.

use candle_core::{DType, Result, Tensor, bail};
use candle_kit::checkpoint::within;
use candle_kit::nn::{LayerNorm, Linear, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::{Module, VarBuilder};

use super::Model;
use super::config::Config;
use super::embeddings::Embeddings;
use super::patches::Patches;
use super::positions::Bicubic;
use super::transformer::{Block, Mlp, Transformer, qkv};

pub(super) struct Clip {
    width: usize,
    transformer: Transformer,
    /// The final normalisation, which applies only to the class token.
    post_layernorm: LayerNorm,
    /// What is compared with texts, if that is asked for.
    visual_projection: Option<Linear>,
}

impl Clip {
    /// Loads the network for pictures of `size`, height and width, with its projection or without.
    pub(super) fn load(config: &Config, size: [usize; 2], projection: bool, vb: VarBuilder<'_>) -> Result<Self> {
        let width = config.hidden_size;
        let layer = vb.pp("visual_projection");
        if projection && !layer.contains_tensor("weight") {
            bail!("`projection = true`, but it has no `visual_projection.weight`; take the whole CLIP");
        }
        let visual_projection =
            projection.then(|| Linear::load_without_bias(width, config.projection_dim, layer)).transpose()?;
        let vb = within(vb, &["vision_model"], "embeddings.class_embedding");
        head_width(config.num_attention_heads, width)?;
        let norm = |name: &str| LayerNorm::load(width, config.layer_norm_eps, vb.pp(name));
        let block = |index| block(config, &vb.pp(format!("encoder.layers.{index}")));
        let embeddings = vb.pp("embeddings");
        let patches = Patches::load(config.patch_size, 3, width, embeddings.pp("patch_embedding"))?;
        let class = embeddings.get(width, "class_embedding")?.unsqueeze(0)?;
        let table = embeddings.get_unchecked("position_embedding.weight")?;
        Ok(Self {
            width,
            transformer: Transformer {
                embeddings: Embeddings::new(patches, Some(class), &table, size, Bicubic::Plain)?,
                // So it is called in all checkpoints.
                pre_norm: Some(norm("pre_layrnorm")?),
                blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?,
            },
            post_layernorm: norm("post_layernorm")?,
            visual_projection,
        })
    }
}

/// SigLIP's blocks are the same.
pub(super) fn block(config: &Config, vb: &VarBuilder<'_>) -> Result<Block> {
    let (width, inner, eps) = (config.hidden_size, config.intermediate_size, config.layer_norm_eps);
    let attention = vb.pp("self_attn");
    Ok(Block {
        heads: config.num_attention_heads,
        norm1: LayerNorm::load(width, eps, vb.pp("layer_norm1"))?,
        qkv: qkv(width, ["q_proj", "k_proj", "v_proj"], &attention)?,
        proj: Linear::load(width, width, attention.pp("out_proj"))?,
        norm2: LayerNorm::load(width, eps, vb.pp("layer_norm2"))?,
        mlp: Mlp::Plain(
            config.hidden_act.after(Linear::load(width, inner, vb.pp("mlp.fc1"))?),
            Linear::load(inner, width, vb.pp("mlp.fc2"))?,
        ),
    })
}

impl Model for Clip {
    fn blocks(&self) -> usize {
        self.transformer.blocks.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        match self.visual_projection {
            Some(_) => &[Pooling::Pooler],
            None => &[Pooling::Pooler, Pooling::Cls, Pooling::Mean],
        }
    }

    fn width(&self, _: Layer, _: Pooling) -> usize {
        self.visual_projection.as_ref().map_or(self.width, Linear::outputs)
    }

    fn pictures(&self) -> usize {
        self.transformer.pictures()
    }

    /// The states of the last layer, which are not normalised, as upstream.
    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor> {
        let states = self.transformer.forward(x, layer)?;
        match pooling {
            Pooling::Pooler => {
                let pooled = self.post_layernorm.forward(&states.cls()?)?;
                match &self.visual_projection {
                    Some(projection) => projection.forward(&pooled)?.to_dtype(DType::F32),
                    None => pooled.to_dtype(DType::F32),
                }
            }
            _ => states.pool(pooling),
        }
    }
}
