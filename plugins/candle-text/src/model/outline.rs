//! The properties of a model.

use candle_core::Tensor;
use candle_kit::Pooling;

#[derive(Clone, Copy)]
pub(crate) struct Outline {
    /// Values of a hidden state.
    pub(crate) hidden_size: usize,
    /// Values of what the model itself pools.
    pub(crate) pooler_size: usize,
    pub(crate) projection: Projection,
    /// The size of its vocabulary.
    pub(crate) vocab_size: usize,
    /// The most tokens of a text.
    pub(crate) max_positions: usize,
    /// True if texts are padded to the same length, and the padding is read with them.
    pub(crate) pads: bool,
    pub(crate) blocks: usize,
    /// The poolings on offer; the first is the family's own.
    pub(crate) poolings: &'static [Pooling],
}

/// The way from what a model pools to what it compares with items of another modality.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Projection {
    /// It compares with nothing.
    None,
    /// None is needed: it compares what it pools.
    Pooler,
    /// To so many values.
    To(usize),
}

impl Outline {
    /// The outline of a model whose tokens have the embeddings `words` (`vocab_size x hidden_size`).
    pub(super) fn new(words: &Tensor, max_positions: usize, blocks: usize, poolings: &'static [Pooling]) -> Self {
        let (vocab_size, hidden_size) = (words.dims()[0], words.dims()[1]);
        Self {
            hidden_size,
            pooler_size: hidden_size,
            projection: Projection::None,
            vocab_size,
            max_positions,
            pads: false,
            blocks,
            poolings,
        }
    }

    /// Values of a latent.
    pub(crate) fn width(&self, pooling: Pooling, projected: bool) -> usize {
        match (pooling, self.projection) {
            (Pooling::Pooler, Projection::To(width)) if projected => width,
            (Pooling::Pooler, _) => self.pooler_size,
            _ => self.hidden_size,
        }
    }
}
