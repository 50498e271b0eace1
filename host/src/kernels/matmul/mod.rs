//! Products of matrices: `out = a b`, or `out += a b`, of matrices that are stored row by row or transposed.
//! `matmul.wgsl` is the product on a GPU, `f16.wgsl` that of 16-bit factors there, `software.wgsl` that on a software
//! GPU; `plain.rs` and `bf16.rs` are those of the CPU.

pub(crate) mod bf16;
mod matrix;
mod plain;

use super::{Gpu, Kernel, Shader, slices};
use matrix::Matrix;

pub use matrix::Order;

/// The rounding of a product's factors; sums are f32, except those of 16 terms, which are f16 on a GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// No rounding.
    #[default]
    F32,
    /// 16 bits: bf16 on the CPU; f16 on a GPU that has it, else f32.
    Bf16,
}

/// `out (m x n) = a (m x k) b (k x n)`. Reads `a`, `b`; writes `out`, which lies row by row.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// Rows, columns, and terms of a sum; none is 0.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Order,
    pub b: Order,
    /// True if the product is added to the values of `out`.
    pub accumulate: bool,
    pub precision: Precision,
    /// The factor that brings `a`, a gradient, into f16's range; the product is divided by it.
    pub scale: f32,
}

impl Matmul {
    /// True if all contiguous dimensions are multiples of four.
    fn is_in_fours(&self) -> bool {
        let Self { m, n, k, .. } = *self;
        let a = if self.a == Order::Rows { k } else { m };
        let b = if self.b == Order::Rows { n } else { k };
        [a, b, n].iter().all(|length| length.is_multiple_of(4))
    }
}

impl Kernel for Matmul {
    fn name(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "matmul",
            Precision::Bf16 => "matmul_bf16",
        }
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        let Self { m, n, k, a, b, accumulate, precision, scale } = *self;
        let ([a_row, a_column], [b_row, b_column]) = (a.strides(m, k), b.strides(k, n));
        let sizes = [m, n, k, a_row, a_column, b_row, b_column, usize::from(accumulate)];
        let (source, entry, [rows, columns]) = match precision {
            Precision::Bf16 if gpu.f16 => (include_str!("f16.wgsl"), "matmul_f16", [64, 64]),
            _ if gpu.software && gpu.subgroup == Some(8) && self.is_in_fours() => {
                (include_str!("software.wgsl"), "matmul_software", [32, 16])
            }
            _ => (include_str!("matmul.wgsl"), "matmul", [64, 64]),
        };
        Shader {
            source,
            entry,
            params: sizes.iter().map(|&size| size as u32).chain([scale.to_bits()]).collect(),
            workgroups: [n.div_ceil(columns) as u32, m.div_ceil(rows) as u32, 1],
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([a, b], [out]) = slices(reads, writes);
        let Self { m, n, k, accumulate, precision, .. } = *self;
        let a = Matrix { values: &a[..m * k], order: self.a };
        let b = Matrix { values: &b[..k * n], order: self.b };
        let out = &mut out[..m * n];
        match precision {
            Precision::F32 => plain::product([m, n, k], a, b, out, accumulate),
            Precision::Bf16 => bf16::product([m, n, k], a, b, out, accumulate),
        }
    }
}
