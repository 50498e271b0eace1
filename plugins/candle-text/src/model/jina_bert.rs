//! JinaBERT (jina-embeddings-v2), with the names of its authors' code: a BERT whose attention fades with distance
//! instead of position embeddings, and whose feed-forward layers are gated.

use candle_core::{Result, Tensor, bail};
use candle_kit::Pooling;
use candle_kit::checkpoint::within;
use candle_kit::nn::{LayerNorm, Linear, Packing, Seen, attention_within, head_width};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::layers::{halves, word_embeddings};
use super::supported::{OFF, Supported};
use super::{Model, Outline, Pass};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    intermediate_size: usize,
    max_position_embeddings: usize,
    type_vocab_size: usize,
    layer_norm_eps: f64,
    feed_forward_type: FeedForward,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FeedForward {
    Geglu,
    Reglu,
}

pub(super) const SUPPORTED: &[Supported] = &[("is_decoder", OFF)];

pub(super) struct JinaBert {
    /// `vocab_size x hidden_size`; the embedding of token type 0, which all tokens have, is in each row.
    word_embeddings: Tensor,
    embeddings_norm: LayerNorm,
    layers: Vec<Block>,
    seen: Seen,
    max_positions: usize,
}

impl JinaBert {
    pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Self> {
        head_width(config.num_attention_heads, config.hidden_size)?;
        let vb = within(vb, &["bert"], "embeddings.word_embeddings.weight");
        let embeddings = vb.pp("embeddings");
        let layer = |index| Block::load(&config, vb.pp("encoder.layer").pp(index));
        Ok(Self {
            embeddings_norm: LayerNorm::load(config.hidden_size, config.layer_norm_eps, embeddings.pp("LayerNorm"))?,
            word_embeddings: word_embeddings(
                config.vocab_size,
                config.type_vocab_size,
                config.hidden_size,
                embeddings,
            )?,
            layers: (0..config.num_hidden_layers).map(layer).collect::<Result<_>>()?,
            seen: Seen::fading(config.num_attention_heads),
            max_positions: config.max_position_embeddings,
        })
    }
}

impl Model for JinaBert {
    fn outline(&self) -> Outline {
        Outline::new(&self.word_embeddings, self.max_positions, self.layers.len(), &[Pooling::Mean, Pooling::Cls])
    }

    fn forward(&self, ids: &Tensor, pass: &Pass<'_>) -> Result<Tensor> {
        let hidden = self.embeddings_norm.forward(&self.word_embeddings.index_select(ids, 0)?)?;
        pass.through(&self.layers, hidden, |layer, hidden| layer.forward(hidden, &self.seen, pass.packing))
    }
}

struct Block {
    heads: usize,
    /// `query`, `key` and `value` side by side: `hidden_size -> 3 hidden_size`.
    query_key_value: Linear,
    /// `layer_norm_q` and `layer_norm_k`, of checkpoints that have them.
    query_key_norms: Option<[LayerNorm; 2]>,
    attention_output: Linear,
    attention_norm: LayerNorm,
    /// `layer_norm_1`, of checkpoints that have it: behind attention once more.
    second_norm: Option<LayerNorm>,
    /// With its activation.
    gate: Linear,
    up: Linear,
    down: Linear,
    output_norm: LayerNorm,
}

impl Block {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (hidden, inner) = (config.hidden_size, config.intermediate_size);
        let norm = |name: &str| LayerNorm::load(hidden, config.layer_norm_eps, vb.pp(name));
        let has = |name: &str| vb.contains_tensor(&format!("{name}.weight"));
        let both = |name| halves(hidden, inner, false, vb.pp("mlp").pp(name));
        // Two generations of names; the halves of the gated layer change places between them.
        let (gate, up, down, output_norm) = if has("mlp.gated_layers") {
            let [gate, up] = both("gated_layers")?;
            (gate, up, "mlp.wo", "mlp.layernorm")
        } else if has("mlp.up_gated_layer") {
            let [up, gate] = both("up_gated_layer")?;
            (gate, up, "mlp.down_layer", "layer_norm_2")
        } else {
            bail!("neither mlp.gated_layers nor mlp.up_gated_layer is in {}", vb.prefix());
        };
        let query_key_norms = match has("attention.self.layer_norm_q") {
            true => Some([norm("attention.self.layer_norm_q")?, norm("attention.self.layer_norm_k")?]),
            false => None,
        };
        let activation = match config.feed_forward_type {
            FeedForward::Geglu => Activation::Gelu,
            FeedForward::Reglu => Activation::Relu,
        };
        let parts = ["query", "key", "value"].map(|name| (hidden, vb.pp("attention.self").pp(name)));
        Ok(Self {
            heads: config.num_attention_heads,
            query_key_value: Linear::load_side_by_side(hidden, &parts)?,
            query_key_norms,
            attention_output: Linear::load(hidden, hidden, vb.pp("attention.output.dense"))?,
            attention_norm: norm("attention.output.LayerNorm")?,
            second_norm: if has("layer_norm_1") { Some(norm("layer_norm_1")?) } else { None },
            gate: gate.then(activation),
            up,
            down: Linear::load(inner, hidden, vb.pp(down))?,
            output_norm: norm(output_norm)?,
        })
    }

    /// `tokens x hidden_size`, in and out.
    fn forward(&self, hidden: &Tensor, seen: &Seen, packing: &Packing) -> Result<Tensor> {
        let qkv = self.query_key_value.forward(hidden)?;
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let (mut q, mut k) = (part(0)?, part(1)?);
        if let Some([query_norm, key_norm]) = &self.query_key_norms {
            (q, k) = (query_norm.forward(&q)?, key_norm.forward(&k)?);
        }
        let context = attention_within(seen, &q, &k, &part(2)?, self.heads, packing)?;
        let mut attended = self.attention_norm.forward_sum(&self.attention_output.forward(&context)?, hidden)?;
        if let Some(norm) = &self.second_norm {
            attended = norm.forward_sum(&attended, hidden)?;
        }
        let inner = (self.gate.forward(&attended)? * self.up.forward(&attended)?)?;
        self.output_norm.forward_sum(&self.down.forward(&inner)?, &attended)
    }
}
