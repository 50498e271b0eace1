//! BERT and RoBERTa, with the names of the `transformers` package: MiniLM, BGE, E5, GTE, multilingual E5, BGE-M3 and
//! others.

use candle_core::{Result, Tensor, bail};
use candle_kit::Pooling;
use candle_kit::checkpoint::within;
use candle_kit::nn::{LayerNorm, Linear, Packing, Seen, attention_within, head_width};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::supported::{OFF, Supported};
use super::{Model, Outline, Pass};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    pub(super) intermediate_size: usize,
    #[serde(default)]
    pub(super) hidden_act: Activation,
    pub(super) max_position_embeddings: usize,
    #[serde(default = "two")]
    pub(super) type_vocab_size: usize,
    #[serde(default = "eps")]
    pub(super) layer_norm_eps: f64,
    #[serde(default)]
    pub(super) pad_token_id: Option<usize>,
}

fn two() -> usize {
    2
}

fn eps() -> f64 {
    1e-12
}

pub(super) const SUPPORTED: &[Supported] =
    &[("is_decoder", OFF), ("position_embedding_type", &["\"absolute\"", "null"])];

/// The names of a checkpoint's tensors.
pub(super) struct Names {
    /// Their prefix in the checkpoint of a model with a head.
    pub(super) prefix: &'static str,
    pub(super) layers: &'static str,
    pub(super) query_key_value: [&'static str; 3],
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) intermediate: &'static str,
    pub(super) output: &'static str,
    pub(super) output_norm: &'static str,
}

pub(super) const BERT: Names = Names {
    prefix: "bert",
    layers: "encoder.layer",
    query_key_value: ["attention.self.query", "attention.self.key", "attention.self.value"],
    attention_output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    intermediate: "intermediate.dense",
    output: "output.dense",
    output_norm: "output.LayerNorm",
};

const ROBERTA: Names = Names { prefix: "roberta", ..BERT };

pub(super) struct Bert {
    embeddings: Embeddings,
    layers: Vec<Block>,
    pooler: Option<Linear>,
    seen: Seen,
}

impl Bert {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        Self::load_with(config, &BERT, 0, vb)
    }

    /// RoBERTa counts positions from the one after its padding's.
    pub(super) fn load_roberta(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        let first = config.pad_token_id.unwrap_or(1) + 1;
        Self::load_with(config, &ROBERTA, first, vb)
    }

    /// A text's first token has `first_position`.
    pub(super) fn load_with(config: Config, names: &Names, first_position: usize, vb: VarBuilder<'_>) -> Result<Self> {
        head_width(config.num_attention_heads, config.hidden_size)?;
        let vb = within(vb, &[names.prefix], "embeddings.word_embeddings.weight");
        let layer = |index| Block::load(&config, names, vb.pp(names.layers).pp(index));
        let pooler = vb.pp("pooler.dense");
        let pooler = match pooler.contains_tensor("weight") {
            true => Some(Linear::load(config.hidden_size, config.hidden_size, pooler)?),
            false => None,
        };
        Ok(Self {
            embeddings: Embeddings::load(&config, first_position, vb.pp("embeddings"))?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            pooler,
            seen: Seen::default(),
        })
    }

    /// The same with an attention that weights rows by distance.
    pub(super) fn seeing(self, seen: Seen) -> Self {
        Self { seen, ..self }
    }
}

impl Model for Bert {
    fn outline(&self) -> Outline {
        let Embeddings { word_embeddings, position_embeddings, .. } = &self.embeddings;
        let poolings: &[Pooling] = match self.pooler {
            Some(_) => &[Pooling::Mean, Pooling::Cls, Pooling::Pooler],
            None => &[Pooling::Mean, Pooling::Cls],
        };
        Outline::new(word_embeddings, position_embeddings.dims()[0], self.layers.len(), poolings)
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let hidden = self.embeddings.forward(ids, pass.packing)?;
        pass.through(&self.layers, hidden, |layer, hidden| layer.forward(hidden, &self.seen, pass.packing))
    }

    fn pooler(&self, states: &Tensor) -> Result<Tensor> {
        match &self.pooler {
            Some(dense) => dense.forward(states)?.tanh(),
            None => bail!("the checkpoint has no pooler"),
        }
    }
}

struct Embeddings {
    /// `vocab_size x hidden_size`
    word_embeddings: Tensor,
    /// `positions x hidden_size`, from the first on that a text uses; the embedding of token type 0, which all tokens
    /// have, is in each row.
    position_embeddings: Tensor,
    layer_norm: LayerNorm,
}

impl Embeddings {
    fn load(config: &Config, first_position: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let table = |name, rows| vb.get((rows, config.hidden_size), &format!("{name}.weight"));
        let Some(usable) = config.max_position_embeddings.checked_sub(first_position) else {
            bail!("positions begin at {first_position}, but there are only {}", config.max_position_embeddings);
        };
        let positions = table("position_embeddings", config.max_position_embeddings)?;
        let positions = positions.narrow(0, first_position, usable)?;
        let positions = match config.type_vocab_size {
            0 => positions.contiguous()?,
            types => positions.broadcast_add(&table("token_type_embeddings", types)?.narrow(0, 0, 1)?)?,
        };
        Ok(Self {
            word_embeddings: table("word_embeddings", config.vocab_size)?,
            position_embeddings: positions,
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
    fn load(config: &Config, names: &Names, vb: VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let linear = |inputs, outputs, name: &str| Linear::load(inputs, outputs, vb.pp(name));
        let norm = |name: &str| LayerNorm::load(hidden, config.layer_norm_eps, vb.pp(name));
        let parts = names.query_key_value.map(|name| (hidden, vb.pp(name)));
        Ok(Self {
            heads: config.num_attention_heads,
            query_key_value: Linear::load_side_by_side(hidden, &parts)?,
            attention_output: linear(hidden, hidden, names.attention_output)?,
            attention_norm: norm(names.attention_norm)?,
            intermediate: linear(hidden, inner, names.intermediate)?.then(config.hidden_act),
            output: linear(inner, hidden, names.output)?,
            output_norm: norm(names.output_norm)?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, seen: &Seen, packing: &Packing) -> Result<Tensor> {
        let qkv = self.query_key_value.forward(hidden)?;
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let context = attention_within(seen, &part(0)?, &part(1)?, &part(2)?, self.heads, packing)?;
        let hidden = self.attention_norm.forward_sum(&self.attention_output.forward(&context)?, hidden)?;
        let intermediate = self.intermediate.forward(&hidden)?;
        self.output_norm.forward_sum(&self.output.forward(&intermediate)?, &hidden)
    }
}
