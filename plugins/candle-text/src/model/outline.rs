//! What a model tells of itself.

use candle_core::Tensor;
use candle_kit::Pooling;

#[derive(Clone, Copy)]
pub(crate) struct Outline {
    /// Values of a hidden state.
    pub(crate) hidden_size: usize,
    /// Tokens that there are.
    pub(crate) vocab_size: usize,
    /// Tokens that it can read at once.
    pub(crate) max_positions: usize,
    pub(crate) blocks: usize,
    /// How its states may be pooled; the first is what its family does.
    pub(crate) poolings: &'static [Pooling],
}

impl Outline {
    /// Of a model whose tokens have the embeddings `words` (`vocab_size x hidden_size`).
    pub(super) fn new(words: &Tensor, max_positions: usize, blocks: usize, poolings: &'static [Pooling]) -> Self {
        let (vocab_size, hidden_size) = (words.dims()[0], words.dims()[1]);
        Self { hidden_size, vocab_size, max_positions, blocks, poolings }
    }
}
