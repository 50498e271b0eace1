//! Channels of `pictures x height x width x channels`: their means and scales.

use candle_core::{CpuStorage, DType, Device, Layout, Result, Storage, Tensor, bail};

pub(crate) fn is_fast(x: &Tensor) -> bool {
    x.device().is_cpu() && x.dtype() == DType::F32
}

/// The mean of each channel of each picture: `n x height x width x channels` -> `n x channels`.
pub(crate) fn mean(x: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    if !is_fast(x) || !x.is_contiguous() {
        return x.to_dtype(DType::F32)?.mean((1, 2))?.to_dtype(x.dtype());
    }
    let (x, layout) = x.storage_and_layout();
    let (mut means, mut of_row) = (vec![0.0; n * c], vec![0.0; c]);
    let add = |sum: &mut [f32], values: &[f32]| sum.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
    for (picture, mean) in values(&x, layout)?.chunks_exact(h * w * c).zip(means.chunks_exact_mut(c)) {
        // Row by row: one sum over all pixels would lose their last bits.
        for row in picture.chunks_exact(w * c) {
            of_row.fill(0.0);
            row.chunks_exact(c).for_each(|pixel| add(&mut of_row, pixel));
            add(mean, &of_row);
        }
        mean.iter_mut().for_each(|sum| *sum /= (h * w) as f32);
    }
    Tensor::from_vec(means, (n, c), &Device::Cpu)
}

/// `x` with each channel of each picture times its `scale` (`n x channels`).
pub(crate) fn scale(x: &Tensor, scale: &Tensor) -> Result<Tensor> {
    let (n, h, w, c) = x.dims4()?;
    if !is_fast(x) || !x.is_contiguous() || !scale.is_contiguous() {
        return x.broadcast_mul(&scale.reshape((n, 1, 1, c))?);
    }
    let ((x, x_layout), (scale, scale_layout)) = (x.storage_and_layout(), scale.storage_and_layout());
    let mut y = values(&x, x_layout)?.to_vec();
    for (picture, scale) in y.chunks_exact_mut(h * w * c).zip(values(&scale, scale_layout)?.chunks_exact(c)) {
        for pixel in picture.chunks_exact_mut(c) {
            pixel.iter_mut().zip(scale).for_each(|(value, scale)| *value *= scale);
        }
    }
    Tensor::from_vec(y, (n, h, w, c), &Device::Cpu)
}

/// The values of a contiguous f32 tensor.
pub(crate) fn values<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(values)), Some((start, end))) => Ok(&values[start..end]),
        _ => bail!("not a contiguous f32 tensor on the CPU"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_and_scales_of_channels_are_candles() -> Result<()> {
        for (h, w, c) in [(1, 1, 1), (7, 5, 33), (3, 2, 64)] {
            let x = Tensor::randn(0f32, 1.0, (2, h, w, c), &Device::Cpu)?;
            let by = Tensor::randn(0f32, 1.0, (2, c), &Device::Cpu)?;
            let apart = |a: Tensor, b: Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f32>();
            assert!(apart(mean(&x)?, x.mean((1, 2))?)? < 1e-6);
            assert_eq!(apart(scale(&x, &by)?, x.broadcast_mul(&by.reshape((2, 1, 1, c))?)?)?, 0.0);
        }
        Ok(())
    }
}
