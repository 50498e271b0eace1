//! Products of matrices: `out = a b`, or `out += a b`, of matrices that lie row by row or transposed. `matmul.wgsl` is the
//! product on a GPU, `f16.wgsl` that of 16-bit factors there, `software.wgsl` that on a GPU in software; `plain.rs` and
//! `bf16.rs` are those of the CPU.

pub(crate) mod bf16;
mod matrix;
mod plain;

use super::{Gpu, Kernel, Shader, slices};
use matrix::Matrix;

pub use matrix::Order;

/// What the factors of a product are rounded to; sums are f32, on a GPU in f16 those of 16 terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// 16 bits: bf16 on the CPU; f16 on a GPU, where it has that, and f32 elsewhere.
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
    /// Whether the product is added to what `out` holds.
    pub accumulate: bool,
    pub precision: Precision,
    /// What `a` is multiplied with on its way to f16, and the product divided by, for a gradient to be in its range.
    pub scale: f32,
}

impl Matmul {
    /// Whether all that is next to each other in memory comes in fours.
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
