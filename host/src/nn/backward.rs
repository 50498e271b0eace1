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

/// The factor that brings gradients of a mean over `rows` rows to the middle of f16's range, without rounding: at the
/// lowest temperature they are about 60, and times activations of 30 a sum of 16 stays below 65,504.
pub(crate) fn scale(rows: usize) -> f32 {
    (rows.next_power_of_two() as f32 / 16.0).max(1.0)
}
