//! Products of strided matrices, on one thread.

use gemm::{Parallelism, gemm};

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub(super) struct Matrix<'a> {
    values: &'a [f32],
    rows: usize,
    columns: usize,
    /// Distances in `values` from one row, and from one column, to the next.
    strides: (usize, usize),
}

impl<'a> Matrix<'a> {
    /// `rows x columns`, rows starting `stride` values apart, from the start of `values`.
    pub(super) fn new(values: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(rows == 0 || (rows - 1) * stride + columns <= values.len(), "the matrix ends beyond its values");
        Self { values, rows, columns, strides: (stride, 1) }
    }

    pub(super) fn transposed(self) -> Self {
        Self { rows: self.columns, columns: self.rows, strides: (self.strides.1, self.strides.0), ..self }
    }
}

/// `out = scale a b`, or `out += scale a b` if `add`; the rows of `out` start `stride` values apart.
pub(super) fn matmul(out: &mut [f32], stride: usize, a: Matrix<'_>, b: Matrix<'_>, scale: f32, add: bool) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert_eq!(k, b.rows, "matrices that do not fit together");
    if m == 0 || n == 0 {
        return;
    }
    assert!(n <= stride && (m - 1) * stride + n <= out.len(), "the product ends beyond `out`");
    // SAFETY: both matrices lie inside their slices (`Matrix::new`), the product inside `out` (asserted), and `out` is
    // borrowed mutably, so it overlaps neither.
    unsafe {
        gemm(
            m,
            n,
            k,
            out.as_mut_ptr(),
            1,
            stride as isize,
            add,
            a.values.as_ptr(),
            a.strides.1 as isize,
            a.strides.0 as isize,
            b.values.as_ptr(),
            b.strides.1 as isize,
            b.strides.0 as isize,
            1.0,
            scale,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}
