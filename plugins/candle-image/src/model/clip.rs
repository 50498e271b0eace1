//! The vision tower of CLIP (Radford et al., arXiv 2103.00020), with the names of the `transformers` package.

use candle_core::{DType, Result, Tensor};
use candle_kit::nn::{LayerNorm, Linear, head_width};
use candle_kit::{Layer, Pooling};
use candle_nn::{Module, VarBuilder};
use serde::Deserialize;

use super::Model;
use super::patches::Patches;
use super::positions::{self, Bicubic};
use super::transformer::{Act, Block, Embeddings, Mlp, Transformer, qkv};
use crate::recipe::{CLIP, Preprocessor};

/// config.json, or its `vision_config`.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Config {
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    hidden_act: Act,
    layer_norm_eps: f64,
    image_size: u32,
    patch_size: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hidden_size: 768,
            num_hidden_layers: 12,
            num_attention_heads: 12,
            intermediate_size: 3072,
            hidden_act: Act::QuickGelu,
            layer_norm_eps: 1e-5,
            image_size: 224,
            patch_size: 32,
        }
    }
}

impl Config {
    pub(super) fn preprocessor(&self) -> Preprocessor {
        Preprocessor::cropped(self.image_size, self.image_size, 3, CLIP)
    }
}

pub(super) struct Clip {
    width: usize,
    transformer: Transformer,
    /// Of the class token, and of nothing else.
    post_layernorm: LayerNorm,
}

impl Clip {
    /// For pictures of `size`: height and width.
    pub(super) fn load(config: &Config, size: [usize; 2], vb: VarBuilder<'_>) -> Result<Self> {
        let width = config.hidden_size;
        head_width(config.num_attention_heads, width)?;
        let norm = |name: &str| LayerNorm::load(width, config.layer_norm_eps, vb.pp(name));
        let shape = Shape { width, inner: config.intermediate_size, heads: config.num_attention_heads };
        let block =
            |index| block(shape, config.hidden_act, config.layer_norm_eps, &vb.pp(format!("encoder.layers.{index}")));
        let embeddings = vb.pp("embeddings");
        let table = embeddings.get_unchecked("position_embedding.weight")?;
        let class = (embeddings.get(width, "class_embedding")?.unsqueeze(0)? + table.narrow(0, 0, 1)?)?;
        let table = table.narrow(0, 1, table.dim(0)? - 1)?.contiguous()?;
        Ok(Self {
            width,
            transformer: Transformer {
                embeddings: Embeddings {
                    patches: Patches::load(config.patch_size, 3, width, embeddings.pp("patch_embedding"))?,
                    special: Some(class),
                    positions: positions::fit(&table, size.map(|side| side / config.patch_size), Bicubic::Plain)?,
                },
                // So it is called in all checkpoints.
                pre_norm: Some(norm("pre_layrnorm")?),
                blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?,
            },
            post_layernorm: norm("post_layernorm")?,
        })
    }
}

#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) width: usize,
    pub(super) inner: usize,
    pub(super) heads: usize,
}

/// SigLIP's blocks are the same.
pub(super) fn block(shape: Shape, act: Act, eps: f64, vb: &VarBuilder<'_>) -> Result<Block> {
    let Shape { width, inner, heads } = shape;
    let attention = vb.pp("self_attn");
    Ok(Block {
        heads,
        norm1: LayerNorm::load(width, eps, vb.pp("layer_norm1"))?,
        qkv: qkv(width, ["q_proj", "k_proj", "v_proj"], &attention)?,
        proj: Linear::load(width, width, attention.pp("out_proj"))?,
        norm2: LayerNorm::load(width, eps, vb.pp("layer_norm2"))?,
        mlp: Mlp::Plain(
            act.after(Linear::load(width, inner, vb.pp("mlp.fc1"))?),
            Linear::load(inner, width, vb.pp("mlp.fc2"))?,
        ),
    })
}

impl Model for Clip {
    fn blocks(&self) -> usize {
        self.transformer.blocks.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        &[Pooling::Pooler, Pooling::Cls, Pooling::Mean]
    }

    fn width(&self, _: Layer, _: Pooling) -> usize {
        self.width
    }

    fn pictures(&self) -> usize {
        self.transformer.pictures()
    }

    /// The states of the last layer are not normalised, as upstream has them.
    fn forward(&self, x: &Tensor, layer: Layer, pooling: Pooling) -> Result<Tensor> {
        let states = self.transformer.forward(x, layer)?;
        match pooling {
            Pooling::Pooler => self.post_layernorm.forward(&states.cls()?)?.to_dtype(DType::F32),
            _ => states.pool(pooling),
        }
    }
}
