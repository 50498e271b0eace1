//! Products of f32 by the multiply-adds of AVX2.

use std::arch::x86_64::*;

use super::panels::{Inner, Lanes, Side};

/// AVX2, in all 16 registers: 12 sums, two vectors of b and what multiplies them.
pub(super) enum Avx2 {}

impl Avx2 {
    /// True if this CPU has the instructions.
    pub(super) fn is_supported() -> bool {
        is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")
    }
}

impl Inner for Avx2 {
    const ROWS: usize = 6;
    const COLUMNS: usize = 16;
    const TERMS: usize = 1;
    const DEPTH: usize = 256;
    const BLOCK: [usize; 2] = [48, 32];

    unsafe fn pack(side: Side, lanes: Lanes<'_>, packed: &mut [u32]) {
        // SAFETY: the caller vouches for the instructions.
        unsafe {
            match side {
                Side::A => pack::<6>(lanes, packed),
                Side::B => pack::<16>(lanes, packed),
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn multiply(a: &[u32], b: &[u32], out: *mut f32, stride: usize, add: bool) {
        for row in 0..Self::ROWS {
            // SAFETY: within what the caller vouches for.
            unsafe {
                let out = out.add(row * stride);
                _mm_prefetch::<_MM_HINT_T0>(out.cast());
                _mm_prefetch::<_MM_HINT_T0>(out.add(Self::COLUMNS - 1).cast());
            }
        }
        let mut sums = [[_mm256_setzero_ps(); 2]; Self::ROWS];
        for (a, b) in a.as_chunks::<{ Self::ROWS }>().0.iter().zip(b.as_chunks::<{ Self::COLUMNS }>().0) {
            // SAFETY: b has 16 values.
            let b = unsafe { [0, 8].map(|at| _mm256_loadu_ps(b.as_ptr().add(at).cast())) };
            for (sums, &a) in sums.iter_mut().zip(a) {
                let a = _mm256_set1_ps(f32::from_bits(a));
                sums[0] = _mm256_fmadd_ps(a, b[0], sums[0]);
                sums[1] = _mm256_fmadd_ps(a, b[1], sums[1]);
            }
        }
        for (row, sums) in sums.iter().enumerate() {
            for (half, &sum) in sums.iter().enumerate() {
                // SAFETY: within what the caller vouches for.
                unsafe {
                    let out = out.add(row * stride + 8 * half);
                    _mm256_storeu_ps(out, if add { _mm256_add_ps(_mm256_loadu_ps(out), sum) } else { sum });
                }
            }
        }
    }
}

/// Packs neighbouring panels of `WIDTH` lanes.
#[target_feature(enable = "avx2")]
pub(super) fn pack<const WIDTH: usize>(lanes: Lanes<'_>, packed: &mut [u32]) {
    let size = WIDTH * lanes.terms;
    if lanes.lane == 1 && lanes.has(packed.len() / lanes.terms) {
        for term in 0..lanes.terms {
            let (values, _) = lanes.across(term).as_chunks::<WIDTH>();
            for (packed, values) in packed.chunks_exact_mut(size).zip(values) {
                packed[term * WIDTH..][..WIDTH].copy_from_slice(&values.map(f32::to_bits));
            }
        }
        return;
    }
    for (panel, packed) in packed.chunks_exact_mut(size).enumerate() {
        let lanes = lanes.skip(panel * WIDTH);
        let whole = if lanes.term == 1 && lanes.has(WIDTH) { transpose::<WIDTH>(lanes, packed) } else { 0 };
        for (term, packed) in packed.chunks_exact_mut(WIDTH).enumerate().skip(whole) {
            packed.iter_mut().enumerate().for_each(|(lane, packed)| *packed = lanes.value(lane, term).to_bits());
        }
    }
}

/// Packs a panel of lanes whose terms are neighbours, but for the last terms; returns how many it packed.
#[target_feature(enable = "avx2")]
fn transpose<const WIDTH: usize>(lanes: Lanes<'_>, packed: &mut [u32]) -> usize {
    // Eight lanes at a time: where those of the last group are fewer, what is written for the others belongs to the
    // term behind, is overwritten by its first group, and must not be behind the panel.
    let spilt = WIDTH.next_multiple_of(8) - WIDTH;
    let whole = (lanes.terms - usize::from(spilt > 0).min(lanes.terms)) / 8 * 8;
    for term in (0..whole).step_by(8) {
        for group in (0..WIDTH).step_by(8).rev() {
            let rows = std::array::from_fn(|lane| {
                let row = lanes.row((group + lane).min(WIDTH - 1));
                // SAFETY: a row has eight terms from this one on.
                unsafe { _mm256_loadu_ps(row.as_ptr().add(term)) }
            });
            for (at, values) in transposed(rows).into_iter().enumerate() {
                let packed = &mut packed[(term + at) * WIDTH + group..][..8];
                // SAFETY: eight words.
                unsafe { _mm256_storeu_ps(packed.as_mut_ptr().cast(), values) }
            }
        }
    }
    whole
}

/// Eight vectors of eight values as a matrix, transposed.
#[inline]
#[target_feature(enable = "avx2")]
pub(super) fn transposed(rows: [__m256; 8]) -> [__m256; 8] {
    let pairs: [[__m256; 2]; 4] = std::array::from_fn(|at| {
        let [a, b] = [rows[2 * at], rows[2 * at + 1]];
        [_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b)]
    });
    // Of four rows each, columns 0 and 4, 1 and 5, 2 and 6, 3 and 7.
    let fours = [0, 2].map(|at| {
        let [[low_a, high_a], [low_b, high_b]] = [pairs[at], pairs[at + 1]];
        [
            _mm256_shuffle_ps::<0x44>(low_a, low_b),
            _mm256_shuffle_ps::<0xee>(low_a, low_b),
            _mm256_shuffle_ps::<0x44>(high_a, high_b),
            _mm256_shuffle_ps::<0xee>(high_a, high_b),
        ]
    });
    std::array::from_fn(|at| {
        let (a, b) = (fours[0][at % 4], fours[1][at % 4]);
        if at < 4 { _mm256_permute2f128_ps::<0x20>(a, b) } else { _mm256_permute2f128_ps::<0x31>(a, b) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::matmul::{matrix::Matrix, panels};
    use crate::kernels::{Order, tests::random};

    /// The product by an innermost loop, and by the definition in f64.
    fn check<I: Inner>([m, n, k]: [usize; 3]) {
        let (x, y, before) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
        let orders = [Order::Rows, Order::Columns];
        for (a, b, accumulate) in orders.into_iter().flat_map(|a| orders.map(|b| (a, b, a == b))) {
            let mut out = before.clone();
            let [of_x, of_y] = [(&x, a), (&y, b)].map(|(values, order)| Matrix { values, order });
            // SAFETY: the caller has checked for the instructions.
            unsafe { panels::product::<I>([m, n, k], of_x, of_y, &mut out, accumulate) };
            let ([a_row, a_column], [b_row, b_column]) = (a.strides(m, k), b.strides(k, n));
            for (at, (out, before)) in out.iter().zip(&before).enumerate() {
                let (row, column) = (at / n, at % n);
                let (left, right) =
                    (|term: usize| x[row * a_row + term * a_column], |term: usize| y[term * b_row + column * b_column]);
                let sum: f64 = (0..k).map(|term| f64::from(left(term)) * f64::from(right(term))).sum();
                let expected = sum + if accumulate { f64::from(*before) } else { 0.0 };
                let apart = (f64::from(*out) - expected).abs();
                assert!(apart < 2e-5 * expected.abs().max(1.0), "{m} {n} {k}, {a:?} {b:?}: {out} and not {expected}");
            }
        }
    }

    #[test]
    fn products_of_all_sizes_and_orders() {
        let sizes = [[1, 1, 1], [6, 16, 8], [12, 32, 9], [7, 17, 7], [65, 257, 63], [200, 70, 600], [300, 600, 17]];
        if Avx2::is_supported() {
            sizes.into_iter().for_each(check::<Avx2>);
        }
    }
}
