//! Rotary position embeddings.

use candle_core::{D, DType, Device, Result, Tensor};

use super::{Packing, is_fast, simd, values};

/// The angular speed of each pair of a head's columns from one row to the next.
pub struct Rotary {
    /// `d / 2`, radians a row.
    frequencies: Vec<f32>,
}

/// The angles of a batch's rows.
pub struct Angles {
    /// `tokens x d / 2`, f32 whatever the model computes in.
    cos: Tensor,
    sin: Tensor,
}

impl Rotary {
    /// For heads of `d` columns: column `i` and column `i + d / 2` turn by `theta^(-2 i / d)`.
    pub fn new(d: usize, theta: f64) -> Self {
        let frequency = |i: usize| theta.powf(-2.0 * i as f64 / d as f64) as f32;
        Self { frequencies: (0..d / 2).map(frequency).collect() }
    }

    /// Turns `by` times slower.
    pub fn slower(self, by: f64) -> Self {
        Self { frequencies: self.frequencies.iter().map(|frequency| frequency / by as f32).collect() }
    }

    /// The angles of each row in its own sequence.
    pub fn angles(&self, packing: &Packing, device: &Device) -> Result<Angles> {
        let turn = |at: u32| self.frequencies.iter().map(move |frequency| at as f32 * frequency);
        let angles: Vec<f32> = packing.positions().into_iter().flat_map(turn).collect();
        let angles = Tensor::from_vec(angles, (packing.tokens(), self.frequencies.len()), device)?;
        Ok(Angles { cos: angles.cos()?, sin: angles.sin()? })
    }
}

impl Angles {
    /// Turns the heads in each row of `x` (`tokens x heads * d`, in columns of a wider tensor if need be).
    pub fn turn(&self, x: &Tensor) -> Result<Tensor> {
        let ((tokens, width), half) = (x.dims2()?, self.cos.dim(1)?);
        let heads = width / (2 * half);
        if is_fast(x) {
            let (storage, layout) = x.storage_and_layout();
            let (stride, x) = (layout.stride()[0], values(&storage, layout)?);
            let mut rows = Vec::with_capacity(tokens * width);
            (0..tokens).for_each(|token| rows.extend_from_slice(&x[token * stride..][..width]));
            let ((cos, cos_layout), (sin, sin_layout)) = (self.cos.storage_and_layout(), self.sin.storage_and_layout());
            let (cos, sin) = (values(&cos, cos_layout)?, values(&sin, sin_layout)?);
            simd::run(simd::Rotary { rows: &mut rows, heads, cos, sin, half });
            return Tensor::from_vec(rows, (tokens, width), &Device::Cpu);
        }
        let heads = x.contiguous()?.to_dtype(DType::F32)?.reshape((tokens, heads, 2 * half))?;
        let (xs, ys) = (heads.narrow(D::Minus1, 0, half)?, heads.narrow(D::Minus1, half, half)?);
        let (cos, sin) = (self.cos.unsqueeze(1)?, self.sin.unsqueeze(1)?);
        let turned = [
            (xs.broadcast_mul(&cos)? - ys.broadcast_mul(&sin)?)?,
            (ys.broadcast_mul(&cos)? + xs.broadcast_mul(&sin)?)?,
        ];
        Tensor::cat(&turned, D::Minus1)?.reshape((tokens, width))?.to_dtype(x.dtype())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In f64 the rows take candle's kernels.
    #[test]
    fn fast_is_portable() -> Result<()> {
        let packing = Packing::new(vec![70, 1, 9], &Device::Cpu)?;
        let angles = Rotary::new(10, 10_000.0).angles(&packing, &Device::Cpu)?;
        let wide = Tensor::randn(0f32, 1.0, (80, 50), &Device::Cpu)?;
        let x = wide.narrow(1, 10, 30)?;
        let (fast, portable) = (angles.turn(&x)?, angles.turn(&x.to_dtype(DType::F64)?)?);
        let apart = (fast.to_dtype(DType::F64)? - portable)?.abs()?.max_all()?.to_scalar::<f64>()?;
        assert!(apart < 1e-5, "{apart}");
        Ok(())
    }

    #[test]
    fn only_distances_count() -> Result<()> {
        let packing = Packing::new(vec![50], &Device::Cpu)?;
        let angles = Rotary::new(8, 100.0).angles(&packing, &Device::Cpu)?;
        let random = || Tensor::randn(0f32, 1.0, (1, 8), &Device::Cpu)?.broadcast_as((50, 8))?.contiguous();
        let scores = angles.turn(&random()?)?.matmul(&angles.turn(&random()?)?.t()?)?.to_vec2::<f32>()?;
        for (at, (a, b)) in [((3, 5), (40, 42)), ((30, 10), (20, 0)), ((0, 49), (0, 49))].into_iter().enumerate() {
            assert!((scores[a.0][a.1] - scores[b.0][b.1]).abs() < 1e-4, "case {at}");
        }
        Ok(())
    }
}
