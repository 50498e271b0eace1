//! Convolutions over `pictures x height x width x channels`, padded as TensorFlow's SAME does.

use candle_core::{D, Result, Tensor};
use candle_kit::nn::Linear;
use candle_nn::{Activation, Module, VarBuilder};
use std::ops::Range;

/// A 1x1 convolution: the same linear layer for every pixel.
pub(crate) struct Pointwise(Linear);

impl Pointwise {
    /// Reads `weight` (`out x in`) and `bias`.
    pub(crate) fn load(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Linear::load(inputs, outputs, vb).map(Self)
    }

    /// Puts relu6 behind the layer.
    pub(crate) fn relu6(self) -> Self {
        Self(self.0.then(Activation::Relu6))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        self.0.forward(&x.reshape((n * h * w, c))?)?.reshape((n, h, w, ()))
    }
}

/// The first convolution: 3x3, stride 2, from three channels, then relu6; as a matrix over the 27 values under the kernel.
pub(crate) struct Stem(Pointwise);

impl Stem {
    /// Reads `weight` (`out x 27`, in order of row, column, channel) and `bias`.
    pub(crate) fn load(outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self(Pointwise::load(27, outputs, vb)?.relu6()))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let taps = taps(x, 3, 2)?.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        self.0.forward(&Tensor::cat(&taps, D::Minus1)?)
    }
}

/// One dimension of a convolution: what each output sees of the inputs.
pub(crate) struct Reach {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    pub(crate) kernel: usize,
    stride: usize,
    /// Zeros before the first input; SAME puts the odd one behind the last.
    before: usize,
}

impl Reach {
    pub(crate) fn new(inputs: usize, kernel: usize, stride: usize) -> Self {
        let outputs = inputs.div_ceil(stride);
        let zeros = ((outputs - 1) * stride + kernel).saturating_sub(inputs);
        Self { inputs, outputs, kernel, stride, before: zeros / 2 }
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

    /// What all outputs see at a place of the kernel, of the two dimensions that [`Reach::strides`] made of `dim`.
    fn tap(&self, strides: &Tensor, dim: usize, place: usize) -> Result<Tensor> {
        strides
            .narrow(dim, place / self.stride, self.outputs)?
            .narrow(dim + 1, place % self.stride, 1)?
            .squeeze(dim + 1)
    }
}

/// For each place of the kernel, row by row, what the outputs see there: `n x out x out x channels` each, in the memory
/// of one padded copy of `x`.
pub(crate) fn taps(x: &Tensor, kernel: usize, stride: usize) -> Result<Vec<Tensor>> {
    let (_, h, w, _) = x.dims4()?;
    let (rows, columns) = (Reach::new(h, kernel, stride), Reach::new(w, kernel, stride));
    let strides = rows.strides(&columns.strides(x, 2)?, 1)?;
    let places = (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j)));
    places.map(|(i, j)| columns.tap(&rows.tap(&strides, 1, i)?, 2, j)).collect()
}
