//! Convolutions over `pictures x height x width x channels`.

use candle_core::{D, Result, Tensor};
use candle_kit::nn::Linear;
use candle_nn::{Activation, Module};
use std::ops::Range;

/// A 1x1 convolution: the same linear layer for every pixel.
pub(crate) struct Pointwise(Linear);

impl Pointwise {
    /// `weight` is `out x in x 1 x 1`, and `bias` `out`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Linear::new(&weight.flatten_from(1)?, bias).map(Self)
    }

    /// Puts `activation` behind the layer.
    pub(crate) fn then(self, activation: Activation) -> Self {
        Self(self.0.then(activation))
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        self.0.forward(&x.reshape((n * h * w, c))?)?.reshape((n, h, w, ()))
    }
}

/// The first convolution: 3x3, stride 2, from three channels; as a matrix over the 27 values under the kernel.
pub(crate) struct Stem {
    values: Pointwise,
    padding: Padding,
}

impl Stem {
    /// `weight` is `out x 3 x 3 x 3`, and `bias` `out`.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor, padding: Padding, activation: Activation) -> Result<Self> {
        // In order of row, column, channel.
        let values = Pointwise::new(&weight.permute((0, 2, 3, 1))?.contiguous()?, bias)?.then(activation);
        Ok(Self { values, padding })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let taps = taps(x, 3, 2, self.padding)?.iter().map(Tensor::contiguous).collect::<Result<Vec<_>>>()?;
        self.values.forward(&Tensor::cat(&taps, D::Minus1)?)
    }
}

/// Zeros around the inputs.
#[derive(Clone, Copy)]
pub(crate) enum Padding {
    /// As many as TensorFlow's SAME puts there: an output for each stride; the odd zero is behind the last input.
    Same,
    /// So many before the first input, and so many behind the last.
    Around(usize, usize),
}

/// One dimension of a convolution: what each output sees of the inputs.
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
pub(crate) fn taps(x: &Tensor, kernel: usize, stride: usize, padding: Padding) -> Result<Vec<Tensor>> {
    let (_, h, w, _) = x.dims4()?;
    let [rows, columns] = [h, w].map(|inputs| Reach::new(inputs, kernel, stride, padding));
    let strides = rows.strides(&columns.strides(x, 2)?, 1)?;
    let places = (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j)));
    places.map(|(i, j)| columns.tap(&rows.tap(&strides, 1, i)?, 2, j)).collect()
}
