//! The inputs that each output of a convolution sees.

use candle_core::{Result, Tensor};
use std::ops::Range;

/// Zeros around the inputs.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    /// TensorFlow's SAME: one output per stride; an odd zero is after the last input.
    Same,
    /// So many before the first input, and so many after the last.
    Around(usize, usize),
}

/// One dimension of a convolution: the inputs that each output sees.
pub(crate) struct Reach {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    stride: usize,
    /// Zeros before the first input.
    before: usize,
}

impl Reach {
    pub(crate) fn new(inputs: usize, kernel: usize, stride: usize, padding: Padding) -> Self {
        let (outputs, before) = match padding {
            Padding::Same => {
                let outputs = inputs.div_ceil(stride);
                (outputs, ((outputs - 1) * stride + kernel).saturating_sub(inputs) / 2)
            }
            Padding::Around(before, after) => {
                ((inputs + before + after).checked_sub(kernel).map_or(0, |free| free / stride + 1), before)
            }
        };
        Self { inputs, outputs, kernel, stride, before }
    }

    /// The places of the kernel that see inputs, not zeros, for output `at`; and the input that the first of them sees.
    #[inline(always)]
    pub(crate) fn seen(&self, at: usize) -> (Range<usize>, usize) {
        let start = at * self.stride;
        let first = self.before.saturating_sub(start);
        let end = self.kernel.min(self.inputs + self.before - start);
        (first..end, start + first - self.before)
    }

    /// `x` with zeros around dimension `dim`, cut into strides: `.. x strides x stride x ..`
    fn strides(&self, x: &Tensor, dim: usize) -> Result<Tensor> {
        let strides = self.outputs + (self.kernel - 1) / self.stride;
        let after = strides * self.stride - self.before - self.inputs;
        let padded = x.pad_with_zeros(dim, self.before, after)?;
        let mut shape = padded.dims().to_vec();
        shape.splice(dim..=dim, [strides, self.stride]);
        padded.reshape(shape)
    }

    /// The inputs of all outputs at a place of the kernel, in the two dimensions that [`Reach::strides`] made of `dim`.
    fn tap(&self, strides: &Tensor, dim: usize, place: usize) -> Result<Tensor> {
        strides
            .narrow(dim, place / self.stride, self.outputs)?
            .narrow(dim + 1, place % self.stride, 1)?
            .squeeze(dim + 1)
    }
}

/// The inputs of the outputs at each place of the kernel, row by row: `n x out x out x channels` each, in the memory of
/// one padded copy of `x`.
pub(crate) fn taps(x: &Tensor, kernel: usize, stride: usize, padding: Padding) -> Result<Vec<Tensor>> {
    let (_, h, w, _) = x.dims4()?;
    let [rows, columns] = [h, w].map(|inputs| Reach::new(inputs, kernel, stride, padding));
    let strides = rows.strides(&columns.strides(x, 2)?, 1)?;
    let places = (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j)));
    places.map(|(i, j)| columns.tap(&rows.tap(&strides, 1, i)?, 2, j)).collect()
}
