//! BERT, with the names of the `transformers` package: MiniLM, BGE, E5, GTE and others.

use candle_core::{Result, Tensor, bail};
use candle_kit::nn::{LayerNorm, Linear, Packing, attention};
use candle_kit::{Layer, Pooling};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::Model;

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    #[serde(default)]
    hidden_act: Activation,
    max_position_embeddings: usize,
    #[serde(default = "two")]
    type_vocab_size: usize,
    #[serde(default = "eps")]
    layer_norm_eps: f64,
    #[serde(default)]
    position_embedding_type: PositionEmbeddingType,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "snake_case")]
enum PositionEmbeddingType {
    #[default]
    Absolute,
}

fn two() -> usize {
    2
}

fn eps() -> f64 {
    1e-12
}

pub(super) struct Bert {
    embeddings: Embeddings,
    layers: Vec<Block>,
}

impl Bert {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        if config.hidden_size.checked_rem(config.num_attention_heads) != Some(0) {
            bail!("{} heads do not share a width of {}", config.num_attention_heads, config.hidden_size);
        }
        let vb = if vb.contains_tensor("bert.embeddings.word_embeddings.weight") { vb.pp("bert") } else { vb };
        let layer = |index| Block::load(&config, vb.pp(format!("encoder.layer.{index}")));
        Ok(Self {
            embeddings: Embeddings::load(&config, vb.pp("embeddings"))?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
        })
    }
}

impl Model for Bert {
    fn hidden_size(&self) -> usize {
        self.embeddings.word_embeddings.dims()[1]
    }

    fn vocab_size(&self) -> usize {
        self.embeddings.word_embeddings.dims()[0]
    }

    fn max_positions(&self) -> usize {
        self.embeddings.position_embeddings.dims()[0]
    }

    fn blocks(&self) -> usize {
        self.layers.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        &[Pooling::Mean, Pooling::Cls]
    }

    fn forward(&self, ids: &Tensor, packing: &Packing, layer: Layer) -> Result<Tensor> {
        let hidden = self.embeddings.forward(ids, packing)?;
        let blocks = match layer {
            Layer::Last => &self.layers[..],
            Layer::After(blocks) => &self.layers[..blocks],
        };
        blocks.iter().try_fold(hidden, |hidden, layer| layer.forward(&hidden, packing))
    }
}

struct Embeddings {
    /// `vocab_size x hidden_size`
    word_embeddings: Tensor,
    /// `max_position_embeddings x hidden_size`; the embedding of token type 0, which all tokens have, is in each row.
    position_embeddings: Tensor,
    layer_norm: LayerNorm,
}

impl Embeddings {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let PositionEmbeddingType::Absolute = config.position_embedding_type;
        let table = |name, rows| vb.get((rows, config.hidden_size), &format!("{name}.weight"));
        let positions = table("position_embeddings", config.max_position_embeddings)?;
        let types = table("token_type_embeddings", config.type_vocab_size)?;
        Ok(Self {
            word_embeddings: table("word_embeddings", config.vocab_size)?,
            position_embeddings: positions.broadcast_add(&types.narrow(0, 0, 1)?)?,
            layer_norm: LayerNorm::load(config.hidden_size, config.layer_norm_eps, vb.pp("LayerNorm"))?,
        })
    }

    fn forward(&self, ids: &Tensor, packing: &Packing) -> Result<Tensor> {
        let positions = Tensor::new(packing.positions(), ids.device())?;
        let words = self.word_embeddings.index_select(ids, 0)?;
        self.layer_norm.forward_sum(&words, &self.position_embeddings.index_select(&positions, 0)?)
    }
}

struct Block {
    heads: usize,
    /// `query`, `key` and `value` side by side: `hidden_size -> 3 hidden_size`.
    query_key_value: Linear,
    attention_output: Linear,
    attention_norm: LayerNorm,
    intermediate: Linear,
    output: Linear,
    output_norm: LayerNorm,
}

impl Block {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |inputs, outputs, name: &str| Linear::load(inputs, outputs, vb.pp(name));
        let norm = |name: &str| LayerNorm::load(hidden, config.layer_norm_eps, vb.pp(name));
        let parts = ["query", "key", "value"].map(|name| (hidden, vb.pp("attention.self").pp(name)));
        Ok(Self {
            heads: config.num_attention_heads,
            query_key_value: Linear::load_side_by_side(hidden, &parts)?,
            attention_output: linear(hidden, hidden, "attention.output.dense")?,
            attention_norm: norm("attention.output.LayerNorm")?,
            intermediate: linear(hidden, inner, "intermediate.dense")?.then(config.hidden_act),
            output: linear(inner, hidden, "output.dense")?,
            output_norm: norm("output.LayerNorm")?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, packing: &Packing) -> Result<Tensor> {
        let qkv = self.query_key_value.forward(hidden)?;
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let context = attention(&part(0)?, &part(1)?, &part(2)?, self.heads, packing)?;
        let hidden = self.attention_norm.forward_sum(&self.attention_output.forward(&context)?, hidden)?;
        let intermediate = self.intermediate.forward(&hidden)?;
        self.output_norm.forward_sum(&self.output.forward(&intermediate)?, &hidden)
    }
}
