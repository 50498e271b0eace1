//! Layer normalisation, the residual sum before it included.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::{is_fast, simd, values};

/// `(x - mean) / sqrt(variance + eps) * weight + bias` over the last dimension.
pub struct LayerNorm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl LayerNorm {
    /// Reads `weight` and `bias` of `width` values each; in old checkpoints they are `gamma` and `beta`.
    pub fn load(width: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let old = vb.contains_tensor("gamma");
        let (weight, bias) = if old { ("gamma", "beta") } else { ("weight", "bias") };
        Ok(Self { weight: vb.get(width, weight)?, bias: vb.get(width, bias)?, eps })
    }

    /// Reads `weight` of `width` values; there is no bias.
    pub fn load_without_bias(width: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get(width, "weight")?;
        Ok(Self { bias: weight.zeros_like()?, weight, eps })
    }

    /// Normalises `x + residual`.
    pub fn forward_sum(&self, x: &Tensor, residual: &Tensor) -> Result<Tensor> {
        if !is_fast(x) || !x.is_contiguous() || !residual.is_contiguous() {
            return self.forward(&(x + residual)?);
        }
        let (first, first_layout) = x.storage_and_layout();
        let (second, second_layout) = residual.storage_and_layout();
        let pairs = values(&first, first_layout)?[..x.elem_count()].iter().zip(values(&second, second_layout)?);
        self.normalise(pairs.map(|(x, residual)| x + residual).collect(), x)
    }

    /// `rows` have the shape of `like`.
    fn normalise(&self, mut rows: Vec<f32>, like: &Tensor) -> Result<Tensor> {
        let (weight, weight_layout) = self.weight.storage_and_layout();
        let (bias, bias_layout) = self.bias.storage_and_layout();
        let width = self.weight.elem_count();
        let weight = &values(&weight, weight_layout)?[..width];
        let bias = &values(&bias, bias_layout)?[..width];
        simd::run(simd::LayerNorm { rows: &mut rows, weight, bias, eps: self.eps as f32 });
        Tensor::from_vec(rows, like.shape(), &Device::Cpu)
    }
}

impl Module for LayerNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if !is_fast(x) || !x.is_contiguous() {
            return candle_nn::ops::layer_norm(&x.contiguous()?, &self.weight, &self.bias, self.eps as f32);
        }
        let (storage, layout) = x.storage_and_layout();
        self.normalise(values(&storage, layout)?[..x.elem_count()].to_vec(), x)
    }
}
