//! ViT (Dosovitskiy et al., arXiv 2010.11929), with the names of the `transformers` package.

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

pub(super) struct ViT {
    width: usize,
    transformer: Transformer,
    layernorm: LayerNorm,
    /// Classifiers have none.
    pooler: Option<Linear>,
}

impl ViT {
    /// Loads the network for pictures of `size`: height and width.
    pub(super) fn load(config: &Config, size: [usize; 2], vb: VarBuilder<'_>) -> Result<Self> {
        let vb = within(vb, &["vit"], "embeddings.cls_token");
        let width = config.hidden_size;
        head_width(config.num_attention_heads, width)?;
        if config.pooler_act != "tanh" {
            bail!("its `pooler_act` is {}; this plugin supports only tanh", config.pooler_act);
        }
        let block = |index| block(config, &vb.pp(format!("encoder.layer.{index}")));
        let pooler = vb.pp("pooler.dense");
        let pooler = pooler.contains_tensor("weight").then(|| Linear::load(width, width, pooler)).transpose()?;
        let embeddings = vb.pp("embeddings");
        let patches = Patches::load(config.patch_size, 3, width, embeddings.pp("patch_embeddings.projection"))?;
        let class = embeddings.get((1, 1, width), "cls_token")?.squeeze(0)?;
        let table = embeddings.get_unchecked("position_embeddings")?.squeeze(0)?;
        Ok(Self {
            width,
            transformer: Transformer {
                embeddings: Embeddings::new(patches, Some(class), &table, size, Bicubic::Plain)?,
                pre_norm: None,
                blocks: (0..config.num_hidden_layers).map(block).collect::<Result<_>>()?,
            },
            layernorm: LayerNorm::load(width, config.layer_norm_eps, vb.pp("layernorm"))?,
            pooler,
        })
    }
}

fn block(config: &Config, vb: &VarBuilder<'_>) -> Result<Block> {
    let (width, inner) = (config.hidden_size, config.intermediate_size);
    let norm = |name: &str| LayerNorm::load(width, config.layer_norm_eps, vb.pp(name));
    let linear = |inputs, outputs, name: &str| Linear::load(inputs, outputs, vb.pp(name));
    Ok(Block {
        heads: config.num_attention_heads,
        norm1: norm("layernorm_before")?,
        qkv: qkv(width, ["query", "key", "value"], &vb.pp("attention.attention"))?,
        proj: linear(width, width, "attention.output.dense")?,
        norm2: norm("layernorm_after")?,
        mlp: Mlp::Plain(
            config.hidden_act.after(linear(width, inner, "intermediate.dense")?),
            linear(inner, width, "output.dense")?,
        ),
    })
}

impl Model for ViT {
    fn blocks(&self) -> usize {
        self.transformer.blocks.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        match self.pooler {
            Some(_) => &[Pooling::Cls, Pooling::Mean, Pooling::Pooler],
            None => &[Pooling::Cls, Pooling::Mean],
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
        let states = states.norm(&self.layernorm)?;
        match &self.pooler {
            Some(pooler) if pooling == Pooling::Pooler => pooler.forward(&states.cls()?)?.tanh()?.to_dtype(DType::F32),
            _ => states.pool(pooling),
        }
    }
}
