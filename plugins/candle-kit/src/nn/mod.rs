//! Layers as candle has them, with a fast path for f32 on the CPU.
//!
//! On the CPU each call runs on its own thread alone: a plugin keeps all cores busy by running several small batches
//! at once (rayon), which needs no synchronisation inside a layer and keeps a batch in one core's cache. On any other
//! device, and for any other type, the same layers run on candle's kernels.

mod act;
mod attention;
mod layer_norm;
mod linear;
mod matmul;
mod rms_norm;
mod rotary;
mod seen;
mod simd;

pub use act::Act;
pub use attention::{Packing, attention, attention_within};
pub use layer_norm::LayerNorm;
pub use linear::Linear;
pub use rms_norm::RmsNorm;
pub use rotary::{Angles, Rotary};
pub use seen::Seen;

use candle_core::{CpuStorage, DType, Error, Layout, Result, Storage, Tensor, bail};

/// True if `tensor` takes the fast path.
fn is_fast(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// The values of an f32 tensor on the CPU from its first one on; the layout says how they lie.
fn values<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match storage {
        Storage::Cpu(CpuStorage::F32(values)) => Ok(&values[layout.start_offset()..]),
        _ => Err(Error::Msg("the fast path is for f32 on the CPU".into())),
    }
}

/// `x <- x sigmoid(x)`, on this thread.
pub fn silu(values: &mut [f32]) {
    simd::run(simd::Gate(values, |x| x));
}

/// The width of one of `heads` that share `width`.
pub fn head_width(heads: usize, width: usize) -> Result<usize> {
    match width.checked_rem(heads) {
        Some(0) => Ok(width / heads),
        _ => bail!("a width of {width} cannot be split into {heads} heads"),
    }
}
