//! `y = act(x W + b)`

use candle_core::{Device, Result, Tensor};
use candle_nn::ops::sigmoid;
use candle_nn::{Activation, Module, VarBuilder};
use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use super::matmul::{Matrix, matmul};
use super::{is_fast, simd, values};

/// A linear layer, its activation included.
pub struct Linear {
    /// `in x out`: the other way round than checkpoints keep it, so that products need not rearrange it.
    weight: Tensor,
    /// `out`
    bias: Tensor,
    behind: Behind,
}

/// The activation of an output.
#[derive(Clone, Copy)]
enum Behind {
    Nothing,
    Activation(Activation),
    /// `x sigmoid(1.702 x)`, which candle has no name for.
    QuickGelu,
}

impl Linear {
    /// Reads `weight` (`out x in`) and `bias` (`out`).
    pub fn load(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Self::load_side_by_side(inputs, &[(outputs, vb)])
    }

    /// Reads `weight` (`out x in`) of a layer without a bias.
    pub fn load_without_bias(inputs: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        Self::without_bias(&vb.get((outputs, inputs), "weight")?)
    }

    /// The layer with this `weight` (`out x in`) and no bias.
    pub fn without_bias(weight: &Tensor) -> Result<Self> {
        Self::new(weight, &Tensor::zeros(weight.dim(0)?, weight.dtype(), weight.device())?)
    }

    /// The layer with this `weight` (`out x in`) and `bias` (`out`).
    pub fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        Ok(Self { weight: weight.t()?.contiguous()?, bias: bias.contiguous()?, behind: Behind::Nothing })
    }

    /// Several layers of the same input as one, whose output is theirs one after the other.
    pub fn load_side_by_side(inputs: usize, layers: &[(usize, VarBuilder<'_>)]) -> Result<Self> {
        let weights = layers.iter().map(|(outputs, vb)| vb.get((*outputs, inputs), "weight"));
        let biases = layers.iter().map(|(outputs, vb)| vb.get(*outputs, "bias"));
        let weight = Tensor::cat(&weights.collect::<Result<Vec<_>>>()?, 0)?;
        let bias = Tensor::cat(&biases.collect::<Result<Vec<_>>>()?, 0)?;
        Self::new(&weight, &bias)
    }

    /// Values of its output.
    pub fn outputs(&self) -> usize {
        self.bias.elem_count()
    }

    /// Puts `activation` behind the layer.
    pub fn then(self, activation: Activation) -> Self {
        Self { behind: Behind::Activation(activation), ..self }
    }

    /// Puts CLIP's approximation of GELU, `x sigmoid(1.702 x)`, behind the layer.
    pub fn then_quick_gelu(self) -> Self {
        Self { behind: Behind::QuickGelu, ..self }
    }

    /// `residual + x W + b`, of a layer without an activation.
    pub fn forward_sum(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        let fast = is_fast(x) && x.is_contiguous() && residual.is_contiguous();
        if !fast || !matches!(self.behind, Behind::Nothing) {
            return self.forward(x)? + residual;
        }
        let (storage, layout) = residual.storage_and_layout();
        self.fast(x, values(&storage, layout)?[..residual.elem_count()].to_vec())
    }
}

impl Module for Linear {
    /// `x` is `rows x in`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if is_fast(x) && x.is_contiguous() {
            return self.fast(x, Vec::new());
        }
        let y = x.matmul(&self.weight)?.broadcast_add(&self.bias)?;
        match self.behind {
            Behind::Nothing => Ok(y),
            Behind::Activation(activation) => y.apply(&activation),
            Behind::QuickGelu => &y * sigmoid(&(&y * 1.702)?)?,
        }
    }
}

impl Linear {
    /// Adds the product to `y`, if there is one.
    fn fast(&self, x: &Tensor, mut y: Vec<f32>) -> Result<Tensor> {
        let (rows, inputs) = x.dims2()?;
        let outputs = self.weight.dim(1)?;
        let ((x, x_layout), (weight, weight_layout)) = (x.storage_and_layout(), self.weight.storage_and_layout());
        let (bias, bias_layout) = self.bias.storage_and_layout();
        let bias = &values(&bias, bias_layout)?[..outputs];
        if y.is_empty() {
            y.reserve_exact(rows * outputs);
            (0..rows).for_each(|_| y.extend_from_slice(bias));
        } else {
            y.chunks_exact_mut(outputs).for_each(|row| row.iter_mut().zip(bias).for_each(|(y, bias)| *y += bias));
        }
        let x = Matrix::new(values(&x, x_layout)?, rows, inputs, inputs);
        let weight = Matrix::new(values(&weight, weight_layout)?, inputs, outputs, outputs);
        matmul(&mut y, outputs, x, weight, 1.0, true);
        let mut rest = None;
        match self.behind {
            Behind::Nothing => {}
            Behind::QuickGelu => simd::run(simd::Gate(&mut y, |x| 1.702 * x)),
            Behind::Activation(Activation::Gelu) => simd::run(simd::Gelu(&mut y)),
            Behind::Activation(Activation::Relu6) => simd::run(simd::Relu6(&mut y)),
            Behind::Activation(Activation::Silu | Activation::Swish) => simd::run(simd::Gate(&mut y, |x| x)),
            Behind::Activation(Activation::NewGelu | Activation::GeluPytorchTanh) => {
                // (1 + tanh u) / 2 = sigmoid(2 u)
                let scale = 2.0 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
                simd::run(simd::Gate(&mut y, |x| scale * (x + 0.044_715 * x * x * x)));
            }
            Behind::Activation(other) => rest = Some(other),
        }
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
        let named =
            [Activation::Gelu, Activation::Relu6, Activation::Relu, Activation::Silu, Activation::GeluPytorchTanh];
        let activations = [Behind::Nothing, Behind::QuickGelu].into_iter().chain(named.map(Behind::Activation));
        for (rows, inputs, outputs) in [(1, 1, 1), (63, 5, 17), (2, 65, 257)] {
            let random = |shape: (usize, usize)| Tensor::randn(0f32, 4.0, shape, &Device::Cpu);
            let x = random((rows, inputs))?;
            let bias = random((1, outputs))?.flatten_all()?;
            let tensors = HashMap::from([("weight".to_owned(), random((outputs, inputs))?), ("bias".to_owned(), bias)]);
            for (index, behind) in activations.clone().enumerate() {
                let [fast, portable] = [DType::F32, DType::F64].map(|dtype| {
                    let vb = VarBuilder::from_tensors(tensors.clone(), dtype, &Device::Cpu);
                    let layer = Linear { behind, ..Linear::load(inputs, outputs, vb)? };
                    let y = layer.forward(&x.to_dtype(dtype)?)?;
                    // The layer's output serves as what another is added to.
                    layer.forward_sum(&x.to_dtype(dtype)?, &y)?.to_dtype(DType::F64)
                });
                let apart = (fast? - portable?)?.abs()?.max_all()?.to_scalar::<f64>()?;
                assert!(apart < 1e-3, "behind {index}, {rows}x{inputs}x{outputs}: {apart}");
            }
        }
        Ok(())
    }
}
