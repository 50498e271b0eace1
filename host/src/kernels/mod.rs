//! What a device computes: a kernel is a WGSL file for GPUs and a Rust file of the same stem, which describes a launch of
//! it and holds its twin, the CPU's way and the oracle.
//!
//! All matrices are f32, row by row. A shader finds its parameters at binding 0, the buffers that it reads from binding
//! 1 on, and behind them those that it writes (or changes in place).

mod adamw;
mod bias;
mod exp;
mod gelu;
mod info_nce;
mod layer_norm;
mod matmul;
mod mix;
mod normalize;
#[cfg(test)]
mod tests;

pub use adamw::AdamW;
pub use bias::{AddBias, ColumnSum};
pub(crate) use gelu::hash;
pub use gelu::{Dropout, Gelu, GeluBackward};
pub use info_nce::{ColumnSums, Gradient, Reduce, RowSums, Tile};
pub use layer_norm::{LayerNorm, LayerNormBackward, LayerNormGains};
pub use matmul::{Matmul, View};
pub use mix::Mix;
pub use normalize::{Normalize, NormalizeBackward};

/// One launch of a kernel.
pub trait Kernel {
    /// The WGSL file's text.
    fn wgsl(&self) -> &'static str;

    /// The function in it; no two kernels have one of the same name.
    fn entry(&self) -> &'static str;

    /// `Params` of the shader, word by word.
    fn params(&self) -> Vec<u32>;

    /// Workgroups in x, y and z.
    fn workgroups(&self) -> [u32; 3];

    /// The same in Rust.
    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]);
}

/// Values that a thread of the CPU takes at once, whatever the number of threads: the order of sums must not depend on it.
const CHUNK: usize = 1 << 13;

/// Workgroups of `size` invocations for `count` of them, in two dimensions: one holds no more than 65,535.
fn groups(count: usize, size: usize) -> [u32; 3] {
    let groups = count.div_ceil(size).max(1);
    let across = groups.min(1 << 15);
    [across as u32, groups.div_ceil(across) as u32, 1]
}

/// Folds values in sixteen lanes, for the compiler to make vectors of, and then the lanes.
#[inline(always)]
fn fold(values: &[f32], start: f32, step: impl Fn(f32, f32) -> f32, merge: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; 16];
    let mut chunks = values.chunks_exact(lanes.len());
    for chunk in &mut chunks {
        lanes.iter_mut().zip(chunk).for_each(|(lane, &value)| *lane = step(*lane, value));
    }
    lanes.iter_mut().zip(chunks.remainder()).for_each(|(lane, &value)| *lane = step(*lane, value));
    lanes.into_iter().reduce(merge).unwrap_or(start)
}

/// Checks that a launch has the buffers that its kernel takes.
fn buffers<'a, 'b, const R: usize, const W: usize>(
    reads: &[&'a [f32]],
    writes: &'b mut [&mut [f32]],
) -> ([&'a [f32]; R], [&'b mut [f32]; W]) {
    let reads = reads.try_into().expect("as many buffers to read as the kernel has");
    let writes: Vec<&mut [f32]> = writes.iter_mut().map(|write| &mut **write).collect();
    (reads, writes.try_into().expect("as many buffers to write as the kernel has"))
}
