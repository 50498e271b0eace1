//! MPNet (all-mpnet-base-v2), with the names of the `transformers` package: a BERT without token types, whose attention
//! has a bias for each distance besides.

use candle_core::{DType, Result, Tensor};
use candle_kit::checkpoint::within;
use candle_kit::nn::Seen;
use candle_nn::{Activation, VarBuilder};
use serde::Deserialize;

use super::bert::{self, BERT, Bert, Names};

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
    layer_norm_eps: f64,
    relative_attention_num_buckets: usize,
    #[serde(default)]
    pad_token_id: Option<usize>,
}

const NAMES: Names = Names {
    prefix: "mpnet",
    query_key_value: ["attention.attn.q", "attention.attn.k", "attention.attn.v"],
    attention_output: "attention.attn.o",
    attention_norm: "attention.LayerNorm",
    ..BERT
};

/// Rows from which on all distances are alike.
const REACH: usize = 128;

pub(super) fn load(config: Config, vb: VarBuilder<'_>) -> Result<Bert> {
    let (buckets, heads) = (config.relative_attention_num_buckets, config.num_attention_heads);
    let biases = within(vb.clone(), &[NAMES.prefix], "encoder.relative_attention_bias.weight");
    let biases = biases.get((buckets, heads), "encoder.relative_attention_bias.weight")?;
    let at = (-(REACH as i64)..=REACH as i64).map(|ahead| bucket(ahead, buckets) as u32);
    let at = Tensor::new(at.collect::<Vec<_>>(), biases.device())?;
    let biases = biases.to_dtype(DType::F32)?.t()?.contiguous()?.index_select(&at, 1)?;
    let seen = Seen::by_distance(REACH, biases.flatten_all()?.to_vec1()?);

    let first_position = config.pad_token_id.unwrap_or(1) + 1;
    let config = bert::Config {
        vocab_size: config.vocab_size,
        hidden_size: config.hidden_size,
        num_hidden_layers: config.num_hidden_layers,
        num_attention_heads: heads,
        intermediate_size: config.intermediate_size,
        hidden_act: config.hidden_act,
        max_position_embeddings: config.max_position_embeddings,
        type_vocab_size: 0,
        layer_norm_eps: config.layer_norm_eps,
        pad_token_id: None,
    };
    Ok(Bert::load_with(config, &NAMES, first_position, vb)?.seeing(seen))
}

/// The bias of a row so far `ahead`: half of the buckets for each direction, half of those for a distance each, the
/// others for ever wider ranges.
fn bucket(ahead: i64, buckets: usize) -> usize {
    let (half, distance) = (buckets / 2, ahead.unsigned_abs() as usize);
    let exact = half / 2;
    let range = |distance: usize| {
        let (exact, reach) = (exact as f32, REACH as f32);
        ((distance as f32 / exact).ln() / (reach / exact).ln() * (half as f32 - exact)) as usize
    };
    let bucket = if distance < exact { distance } else { half.min(exact + range(distance) + 1) - 1 };
    if ahead > 0 { half + bucket } else { bucket }
}
