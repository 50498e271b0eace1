//! Products of matrices: `out = a b`, or `out += a b`, of views that may be transposed and start anywhere in a buffer.

use gemm::Parallelism;

use super::{Kernel, buffers};

/// Where a matrix lies in its buffer.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// Index of its first value.
    pub start: usize,
    /// From a row to the next.
    pub row: usize,
    /// From a column to the next.
    pub column: usize,
}

impl View {
    /// Row by row, rows of `width` values.
    pub fn rows(width: usize) -> Self {
        Self { start: 0, row: width, column: 1 }
    }

    /// The transpose of a matrix with rows of `width` values.
    pub fn transposed(width: usize) -> Self {
        Self { start: 0, row: 1, column: width }
    }

    /// From value `start` on.
    pub fn from(self, start: usize) -> Self {
        Self { start, ..self }
    }

    /// Values that a matrix of these dimensions reaches to.
    fn end(&self, rows: usize, columns: usize) -> usize {
        self.start + (rows - 1) * self.row + (columns - 1) * self.column + 1
    }
}

/// `out (m x n) = a (m x k) b (k x n)`. Reads `a`, `b`; writes `out`.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// Rows, columns, and terms of a sum; none is 0.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: View,
    pub b: View,
    /// First value of `out`, which lies row by row.
    pub out: usize,
    /// Whether the product is added to what `out` holds.
    pub accumulate: bool,
}

/// Rows and columns of a workgroup's part of `out`.
const TILE: usize = 64;

impl Kernel for Matmul {
    fn wgsl(&self) -> &'static str {
        include_str!("matmul.wgsl")
    }

    fn entry(&self) -> &'static str {
        "matmul"
    }

    fn params(&self) -> Vec<u32> {
        let Self { m, n, k, a, b, out, accumulate } = *self;
        [m, n, k, a.start, a.row, a.column, b.start, b.row, b.column, out, accumulate.into()].map(|p| p as u32).into()
    }

    fn workgroups(&self) -> [u32; 3] {
        [self.n.div_ceil(TILE) as u32, self.m.div_ceil(TILE) as u32, 1]
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([a, b], [out]) = buffers(reads, writes);
        let Self { m, n, k, .. } = *self;
        let (a, b, out) = (&a[..self.a.end(m, k)], &b[..self.b.end(k, n)], &mut out[self.out..self.out + m * n]);
        // SAFETY: the slices above hold all that the dimensions and strides reach, and `out` overlaps neither.
        unsafe {
            gemm::gemm(
                m,
                n,
                k,
                out.as_mut_ptr(),
                1,
                n as isize,
                self.accumulate,
                a.as_ptr().add(self.a.start),
                self.a.column as isize,
                self.a.row as isize,
                b.as_ptr().add(self.b.start),
                self.b.column as isize,
                self.b.row as isize,
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
