//! The common part of the layers' backward passes.

use crate::device::Device;
use crate::kernels::{Format, Precision};

/// A backward pass over a micro-batch.
#[derive(Clone, Copy)]
pub(crate) struct Backward<'a> {
    pub(crate) device: &'a dyn Device,
    pub(crate) rows: usize,
    pub(crate) precision: Precision,
    /// The format of the factors of products in memory.
    pub(crate) format: Format,
    /// True if the gradients to the parameters are added to those of other micro-batches.
    pub(crate) accumulate: bool,
}
