//! The properties of a model.

use candle_core::Tensor;
use candle_kit::Pooling;

#[derive(Clone, Copy)]
pub(crate) struct Outline {
    /// Values of a hidden state.
    pub(crate) hidden_size: usize,
    /// The size of its vocabulary.
    pub(crate) vocab_size: usize,
    /// The most tokens of a text.
    pub(crate) max_positions: usize,
    pub(crate) blocks: usize,
    /// The poolings on offer; the first is the family's own.
    pub(crate) poolings: &'static [Pooling],
}

impl Outline {
    /// The outline of a model whose tokens have the embeddings `words` (`vocab_size x hidden_size`).
    pub(super) fn new(words: &Tensor, max_positions: usize, blocks: usize, poolings: &'static [Pooling]) -> Self {
        let (vocab_size, hidden_size) = (words.dims()[0], words.dims()[1]);
        Self { hidden_size, vocab_size, max_positions, blocks, poolings }
    }
}
