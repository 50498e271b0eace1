//! Convolutions over `pictures x height x width x channels`.

use candle_core::{D, Result, Tensor};
use candle_kit::nn::Linear;
use candle_nn::{Activation, Module};

use crate::reach::{Padding, taps};

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
