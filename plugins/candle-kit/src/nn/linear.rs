//! `y = act(x W + b)`

use candle_core::{Device, Result, Tensor};
use candle_nn::{Activation, Module, VarBuilder};

use super::matmul::{Matrix, matmul};
use super::{is_fast, simd, values};

/// A linear layer, its activation included.
pub struct Linear {
    /// `in x out`: the other way round than checkpoints keep it, so that products need not rearrange it.
    weight: Tensor,
    /// `out`
    bias: Tensor,
    activation: Option<Activation>,
}

impl Linear {
    /// Reads `weight` (`out x in`) and `bias` (`out`).
    pub fn load(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Self::load_side_by_side(inputs, &[(outputs, vb)])
    }

    /// Reads `weight` (`out x in`) of a layer without a bias.
    pub fn load_without_bias(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((outputs, inputs), "weight")?;
        let bias = weight.zeros_like()?.narrow(1, 0, 1)?.flatten_all()?;
        Self::new(&weight, &bias)
    }

    /// The layer with this `weight` (`out x in`) and `bias` (`out`).
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias: bias.contiguous()?, activation: None })
    }

    /// Several layers of the same input as one, whose output is theirs one after the other.
    pub fn load_side_by_side(inputs: usize, layers: &[(usize, VarBuilder<'_>)]) -> Result<Self> {
        let weights = layers.iter().map(|(outputs, vb)| vb.get((*outputs, inputs), "weight"));
        let biases = layers.iter().map(|(outputs, vb)| vb.get(*outputs, "bias"));
        let weight = Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 0)?;
        let bias = Tensor::cat(&biases.collect::<Result<Vec<_>>>()?, 0)?;
        Self::new(&weight, &bias)
    }

    /// Puts `activation` behind the layer.
    pub fn then(mut self, activation: Activation) -> Self {
        self.activation = Some(activation);
        self
    }
}

impl Module for Linear {
    /// `x` is `rows x in`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = match is_fast(x) && x.is_contiguous() {
            true => return self.fast(x),
            false => x.matmul(&self.weight)?.broadcast_add(&self.bias)?,
        };
        match self.activation {
            Some(activation) => y.apply(&activation),
            None => Ok(y),
        }
    }
}

impl Linear {
    fn fast(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        let outputs = self.weight.dim(1)?;
        let ((x, x_layout), (weight, weight_layout)) = (x.storage_and_layout(), self.weight.storage_and_layout());
        let (bias, bias_layout) = self.bias.storage_and_layout();
        let bias = &values(&bias, bias_layout)?[..outputs];
        let mut y = Vec::with_capacity(rows * outputs);
        (0..rows).for_each(|_| y.extend_from_slice(bias));
        let x = Matrix::new(values(&x, x_layout)?, rows, inputs, inputs);
        let weight = Matrix::new(values(&weight, weight_layout)?, inputs, outputs, outputs);
        matmul(&mut y, outputs, x, weight, 1.0, true);
        let rest = match self.activation {
            Some(Activation::Gelu) => {
                simd::run(simd::Gelu(&mut y));
                None
            }
            Some(Activation::Relu6) => {
                simd::run(simd::Relu6(&mut y));
                None
            }
            other => other,
        };
        let y = Tensor::from_vec(y, (rows, outputs), &Device::Cpu)?;
        rest.iter().try_fold(y, |y, activation| y.apply(activation))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::DType;
    use std::collections::HashMap;

    /// In f64 the layer takes candle's kernels.
    #[test]
    fn every_activation_is_candles() -> Result<()> {
        let activations = [None, Some(Activation::Gelu), Some(Activation::Relu6), Some(Activation::Relu)];
        for (rows, inputs, outputs) in [(1, 1, 1), (63, 5, 17), (2, 65, 257)] {
            let random = |shape: (usize, usize)| Tensor::randn(0f32, 4.0, shape, &Device::Cpu);
            let x = random((rows, inputs))?;
            let bias = random((1, outputs))?.flatten_all()?;
            let tensors = HashMap::from([("weight".to_owned(), random((outputs, inputs))?), ("bias".to_owned(), bias)]);
            for activation in activations {
                let [fast, portable] = [DType::F32, DType::F64].map(|dtype| {
                    let vb = VarBuilder::from_tensors(tensors.clone(), dtype, &Device::Cpu);
                    let layer = Linear::load(inputs, outputs, vb)?;
                    let layer = activation.iter().fold(layer, |layer, &activation| layer.then(activation));
                    layer.forward(&x.to_dtype(dtype)?)?.to_dtype(DType::F64)
                });
                let apart = (fast? - portable?)?.abs()?.max_all()?.to_scalar::<f64>()?;
                assert!(apart < 1e-3, "{activation:?}, {rows}x{inputs}x{outputs}: {apart}");
            }
        }
        Ok(())
    }
}
