//! Products of matrices: `out = a b`, or `out += a b`, of matrices that lie row by row or transposed.

use gemm::Parallelism;

use super::{Gpu, Kernel, Shader, bf16, slices};

/// How a matrix lies in its slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Row by row.
    Rows,
    /// Column by column: its transpose lies row by row.
    Columns,
}

impl Order {
    /// From a row to the next and from a column to the next, in a matrix of these dimensions.
    fn strides(self, rows: usize, columns: usize) -> [usize; 2] {
        match self {
            Self::Rows => [columns, 1],
            Self::Columns => [1, rows],
        }
    }
}

/// What the factors of a product are rounded to; sums are f32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// Not at all.
    #[default]
    F32,
    /// 8 bits of mantissa.
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
}

impl Kernel for Matmul {
    fn name(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "matmul",
            Precision::Bf16 => "matmul_bf16",
        }
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Self { m, n, k, a, b, accumulate, precision } = *self;
        let ([a_row, a_column], [b_row, b_column]) = (a.strides(m, k), b.strides(k, n));
        let flags = [accumulate, precision == Precision::Bf16].map(usize::from);
        let params = [[m, n, k].as_slice(), &[a_row, a_column, b_row, b_column], &flags].concat();
        /// Rows and columns of a workgroup's part of `out`.
        const TILE: usize = 64;
        Shader {
            source: include_str!("matmul.wgsl"),
            entry: "matmul",
            params: params.into_iter().map(|p| p as u32).collect(),
            workgroups: [n.div_ceil(TILE) as u32, m.div_ceil(TILE) as u32, 1],
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([a, b], [out]) = slices(reads, writes);
        let Self { m, n, k, accumulate, precision, .. } = *self;
        let ([a_row, a_column], [b_row, b_column]) = (self.a.strides(m, k), self.b.strides(k, n));
        let (a, b, out) = (&a[..m * k], &b[..k * n], &mut out[..m * n]);
        if precision == Precision::Bf16 {
            let (a, b) = (bf16::Matrix { values: a, order: self.a }, bf16::Matrix { values: b, order: self.b });
            return bf16::product([m, n, k], a, b, out, accumulate);
        }
        // SAFETY: the slices hold whole matrices of these dimensions and strides, and `out` overlaps neither.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                accumulate,
                a.as_ptr(),
                a_column as isize,
                a_row as isize,
                b.as_ptr(),
                b_column as isize,
                b_row as isize,
                1.0,
                1.0,
                false,
                false,
                false,
                Parallelism::Rayon(0),
            );
        }
    }
}
