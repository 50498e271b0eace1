//! Layers and tables that several families have in common.

use candle_core::{Result, Tensor};
use candle_kit::nn::Linear;
use candle_nn::VarBuilder;

/// `word_embeddings` (`words x width`) with the embedding of token type 0, which all tokens have, in each row.
pub(super) fn word_embeddings(words: usize, types: usize, width: usize, vb: VarBuilder<'_>) -> Result<Tensor> {
    let table = |name, rows| vb.get((rows, width), &format!("{name}.weight"));
    let words = table("word_embeddings", words)?;
    match types {
        0 => Ok(words),
        types => words.broadcast_add(&table("token_type_embeddings", types)?.narrow(0, 0, 1)?),
    }
}

/// A linear layer whose `bias` config.json tells of.
pub(super) fn linear(inputs: usize, outputs: usize, bias: bool, vb: VarBuilder<'_>) -> Result<Linear> {
    side_by_side(inputs, &[(outputs, vb)], bias)
}

/// Several such layers of the same input as one, whose output is theirs one after the other.
pub(super) fn side_by_side(inputs: usize, layers: &[(usize, VarBuilder<'_>)], bias: bool) -> Result<Linear> {
    if bias {
        return Linear::load_side_by_side(inputs, layers);
    }
    let weights = layers.iter().map(|(outputs, vb)| vb.get((*outputs, inputs), "weight"));
    Linear::without_bias(&Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 0)?)
}

/// Two such layers of as many `outputs` that the checkpoint has as one.
pub(super) fn halves(inputs: usize, outputs: usize, bias: bool, vb: VarBuilder<'_>) -> Result<[Linear; 2]> {
    let weight = vb.get((2 * outputs, inputs), "weight")?;
    let bias = if bias { Some(vb.get(2 * outputs, "bias")?) } else { None };
    let half = |index| {
        let rows = |tensor: &Tensor| tensor.narrow(0, index * outputs, outputs);
        match &bias {
            Some(bias) => Linear::new(&rows(&weight)?, &rows(bias)?),
            None => Linear::without_bias(&rows(&weight)?),
        }
    };
    Ok([half(0)?, half(1)?])
}
