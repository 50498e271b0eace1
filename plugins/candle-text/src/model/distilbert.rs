//! DistilBERT, with the names of the `transformers` package: a BERT without token types and pooler, under other names.

use candle_core::Result;
use candle_nn::{Activation, VarBuilder};
use serde::Deserialize;

use super::bert::{self, Bert, Names};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    vocab_size: usize,
    dim: usize,
    hidden_dim: usize,
    n_layers: usize,
    n_heads: usize,
    #[serde(default)]
    activation: Activation,
    max_position_embeddings: usize,
}

const NAMES: Names = Names {
    prefix: "distilbert",
    layers: "transformer.layer",
    query_key_value: ["attention.q_lin", "attention.k_lin", "attention.v_lin"],
    attention_output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    intermediate: "ffn.lin1",
    output: "ffn.lin2",
    output_norm: "output_layer_norm",
};

pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Bert> {
    let config = bert::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.dim,
        num_hidden_layers: config.n_layers,
        num_attention_heads: config.n_heads,
        intermediate_size: config.hidden_dim,
        hidden_act: config.activation,
        max_position_embeddings: config.max_position_embeddings,
        type_vocab_size: 0,
        layer_norm_eps: 1e-12,
        pad_token_id: None,
    };
    Bert::load_with(config, &NAMES, 0, vb)
}
