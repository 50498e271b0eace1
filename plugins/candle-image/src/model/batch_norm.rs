//! Batch normalisation, which in a trained network is a scale and a shift of each channel.

use candle_core::{DType, Result, Tensor};
use candle_nn::VarBuilder;

/// Weight (`out x ..`) and bias of a layer that does what `weight` (f32) and the normalisation behind it do:
/// `bn(w x) = (g / s) w x + (b - g m / s)`, where `s = sqrt(variance + epsilon)`.
pub(super) fn fold(weight: &Tensor, norm: &VarBuilder<'_>, epsilon: f64) -> Result<(Tensor, Tensor)> {
    let (outputs, dtype, norm) = (weight.dim(0)?, norm.dtype(), norm.to_dtype(DType::F32));
    let scale = (norm.get(outputs, "weight")? / (norm.get(outputs, "running_var")? + epsilon)?.sqrt()?)?;
    let bias = (norm.get(outputs, "bias")? - (norm.get(outputs, "running_mean")? * &scale)?)?;
    let folded = weight.flatten_from(1)?.broadcast_mul(&scale.unsqueeze(1)?)?.reshape(weight.shape())?;
    Ok((folded.to_dtype(dtype)?, bias.to_dtype(dtype)?))
}
