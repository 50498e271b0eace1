//! Kernels: each is a WGSL file for GPUs and a Rust file of the same stem, which describes a launch of it and holds its
//! twin, the CPU's version and the test oracle.
//!
//! Matrices lie row by row, as f32 where no [`Format`] says otherwise. A shader has its parameters as immediates, its
//! inputs from binding 1 on, and after them its outputs (or slices that it changes in place).

#![allow(clippy::needless_lifetimes, reason = "`pulp::with_simd` needs them")]

mod adamw;
mod add_loss;
mod bias;
mod centred;
mod clip;
mod divergence;
mod ema;
mod exp;
mod gelu;
mod geodesic;
mod half;
mod info_nce;
mod instructions;
mod layer_norm;
mod loss_scale;
mod mask;
mod matmul;
mod mix;
mod normalize;
mod sigmoid;
mod targets;
#[cfg(test)]
mod tests;
mod transport;
mod unfold;

pub use adamw::AdamW;
pub use add_loss::AddLoss;
pub use bias::{AddBias, ColumnSum};
pub use centred::Centred;
pub use clip::{ClipFactor, SquareSums};
pub use divergence::{Divergence, DivergenceGradient, WithoutOwn};
pub use ema::Ema;
pub(crate) use gelu::hash;
pub use gelu::{Dropout, Gelu, GeluBackward, Glu, GluBackward};
pub use geodesic::{Geodesic, GeodesicGradient, NegativesGradient, SetOwn};
pub use half::{Format, Halve};
pub use info_nce::{ColumnSums, Diagonal, Gradient, HalfGradient, LogSums, Reduce, RowSums, TargetGradient, Tile};
pub(crate) use instructions::{arch, is_set, prefetch};
pub use layer_norm::{AddNorm, LayerNorm, LayerNormBackward, LayerNormGains, Standardize};
pub use loss_scale::LossScale;
pub use mask::{ITEMS, Mask};
pub use matmul::{Matmul, Order, Precision};
pub(crate) use matmul::{bf16, cooperative};
pub use mix::{Mix, mixed};
pub use normalize::{Normalize, NormalizeBackward};
pub use sigmoid::{SigmoidGradient, SigmoidReduce, SigmoidTargetGradient};
pub use targets::{FACTS, Overlaps, RowTotals, Soften, Spread};
pub use transport::{PlanGradient, Potentials};
pub use unfold::Unfold;

/// One launch of a kernel.
pub trait Kernel {
    /// Its name in a profile.
    fn name(&self) -> &'static str;

    /// The launch on a GPU.
    fn shader(&self, gpu: &Gpu) -> Shader;

    /// The bytes that it reads and writes, of those that it is given.
    fn bytes(&self, given: u64) -> u64 {
        given
    }

    /// Its multiplications and additions, if it is a product.
    fn operations(&self) -> f64 {
        0.0
    }

    /// The same in Rust.
    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]);
}

/// The features that a kernel may use.
#[derive(Clone, Copy, Debug, Default)]
pub struct Gpu {
    /// True if the GPU is a software one.
    pub software: bool,
    /// The least and the largest size of a subgroup, if shaders can use subgroups.
    pub subgroups: Option<[u32; 2]>,
    /// True if shaders can compute with f16.
    pub f16: bool,
    /// The side of the squares that its matrix units multiply, of f16 with sums of f32, if it has them.
    pub fragment: Option<u32>,
    /// The most bytes of a workgroup's memory.
    pub workgroup: u32,
    /// The most threads of a workgroup.
    pub threads: u32,
}

impl Gpu {
    /// The threads that share a column where a kernel goes through columns, 16 of them a workgroup: the rows are many,
    /// and the columns too few to keep a large GPU busy.
    fn lanes(&self) -> u32 {
        if self.threads >= 1024 && !self.software { 64 } else { 16 }
    }
}

/// A launch on a GPU.
#[derive(Default)]
pub struct Shader {
    /// The source of a WGSL file, or of several.
    pub source: &'static str,
    /// Its entry point.
    pub entry: &'static str,
    /// The values of its constants (`override`).
    pub constants: Vec<(&'static str, f64)>,
    /// True if it needs no checks beside its own.
    pub unchecked: bool,
    /// `Params` of the shader, word by word.
    pub params: Vec<u32>,
    /// Workgroups in x, y and z.
    pub workgroups: [u32; 3],
}

/// Values per CPU task, independent of the number of threads, on which the order of sums must not depend.
const CHUNK: usize = 1 << 13;

/// Columns that a thread of the CPU takes, where each column has a sum of its own: long parts of rows, which memory
/// reads ahead. The sums do not depend on their number.
fn columns(width: usize) -> usize {
    width.div_ceil(rayon::current_num_threads()).next_multiple_of(64).max(64)
}

/// Workgroups of `size` invocations for `count` of them, in two dimensions: one holds no more than 65,535.
fn groups(count: usize, size: usize) -> [u32; 3] {
    let groups = count.div_ceil(size).max(1);
    let across = groups.min(1 << 15);
    [across as u32, groups.div_ceil(across) as u32, 1]
}

/// Folds values in sixteen lanes, which the compiler vectorises, and then folds the lanes.
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

/// The larger of two numbers, and not `b` where that is NaN. `f32::max` says the same, but LLVM 22 loses values where it
/// folds an array with it, if a unit is optimised once (`codegen-units = 1` or `lto = "off"`, x86-64-v3).
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Checks that a launch has its kernel's number of slices.
fn slices<'a, 'b, const R: usize, const W: usize>(
    reads: &[&'a [f32]],
    writes: &'b mut [&mut [f32]],
) -> ([&'a [f32]; R], [&'b mut [f32]; W]) {
    let reads = reads.try_into().expect("as many slices to read as the kernel has");
    let writes: Vec<&mut [f32]> = writes.iter_mut().map(|write| &mut **write).collect();
    (reads, writes.try_into().expect("as many slices to write as the kernel has"))
}
