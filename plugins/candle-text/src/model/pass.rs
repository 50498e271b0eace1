//! One pass of a batch through a model.

use candle_core::{Result, Tensor};
use candle_kit::Layer;
use candle_kit::nn::Packing;

/// The arguments of all blocks of a model.
pub(crate) struct Pass<'a> {
    pub(crate) packing: &'a Packing,
    pub(crate) layer: Layer,
    /// Called before each block with the number of finished ones: an error ends the pass.
    pub(crate) before_block: &'a dyn Fn(usize) -> Result<()>,
}

impl Pass<'_> {
    /// `hidden` (`tokens x width`) after those of `blocks` that come before the layer.
    pub(super) fn through<B>(
        &self,
        blocks: &[B],
        hidden: Tensor,
        forward: impl Fn(&B, &Tensor) -> Result<Tensor>,
    ) -> Result<Tensor> {
        self.layer.of(blocks).iter().enumerate().try_fold(hidden, |hidden, (done, block)| {
            (self.before_block)(done)?;
            forward(block, &hidden)
        })
    }
}
