//! Products of f32 on the CPU: by AVX2 in the blocks of `panels.rs`; elsewhere, and with AVX-512, those of `gemm`.

use gemm::Parallelism;

use super::matrix::Matrix;
#[cfg(target_arch = "x86_64")]
use super::{super::instructions::has_avx512, fma::Avx2, panels, sparse};

/// `out (m x n) = a (m x k) b (k x n)`, or added to it.
pub(super) fn product([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], accumulate: bool) {
    assert!(a.values.len() == m * k && b.values.len() == k * n && out.len() == m * n, "matrices of other dimensions");
    #[cfg(target_arch = "x86_64")]
    if Avx2::is_supported() && !has_avx512() {
        // Below these, lists cost more than they save.
        let large = m.min(n) >= 96 && k >= 96;
        // SAFETY: the CPU has the instructions.
        return unsafe {
            if large && sparse::is_sparse(a.values) {
                sparse::product([m, n, k], a, b, (out, false), accumulate);
            } else if large && sparse::is_sparse(b.values) {
                sparse::product([n, m, k], b.transposed(), a.transposed(), (out, true), accumulate);
            } else {
                panels::product::<Avx2>([m, n, k], a, b, out, accumulate);
            }
        };
    }
    with_gemm([m, n, k], a, b, out, accumulate);
}

/// The same by `gemm`, which uses AVX-512 wherever the CPU has it.
pub(super) fn with_gemm([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], accumulate: bool) {
    assert!(a.values.len() == m * k && b.values.len() == k * n && out.len() == m * n, "matrices of other dimensions");
    let ([a_row, a_column], [b_row, b_column]) = (a.order.strides(m, k), b.order.strides(k, n));
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
            a.values.as_ptr(),
            a_column as isize,
            a_row as isize,
            b.values.as_ptr(),
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
