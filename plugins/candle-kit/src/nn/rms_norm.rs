//! Normalisation by the root of the mean square.

use candle_core::{Device, Result, Tensor};
use candle_nn::{Module, VarBuilder};

use super::{is_fast, simd, values};

/// `x / sqrt(mean of x^2 + eps) * weight` over the last dimension.
pub struct RmsNorm {
    weight: Tensor,
    eps: f64,
}

impl RmsNorm {
    /// Reads `weight` of `width` values.
    pub fn load(width: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self { weight: vb.get(width, "weight")?, eps })
    }
}

impl Module for RmsNorm {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let x = x.contiguous()?;
        if !is_fast(&x) {
            return candle_nn::ops::rms_norm(&x, &self.weight, self.eps as f32);
        }
        let ((storage, layout), (weight, weight_layout)) = (x.storage_and_layout(), self.weight.storage_and_layout());
        let mut rows = values(&storage, layout)?[..x.elem_count()].to_vec();
        let weight = &values(&weight, weight_layout)?[..self.weight.elem_count()];
        simd::run(simd::RmsNorm { rows: &mut rows, weight, eps: self.eps as f32 });
        Tensor::from_vec(rows, x.shape(), &Device::Cpu)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_is_candles() -> Result<()> {
        for width in [1, 15, 64, 257] {
            let random = |rows: usize| Tensor::randn(0f32, 2.0, (rows, width), &Device::Cpu);
            let (x, weight) = (random(7)?, random(1)?.flatten_all()?);
            let slow = candle_nn::ops::rms_norm(&x, &weight, 1e-6)?;
            let apart = (RmsNorm { weight, eps: 1e-6 }.forward(&x)? - slow)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(apart < 1e-5, "width {width}: {apart}");
        }
        Ok(())
    }
}
