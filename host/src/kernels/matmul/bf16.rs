//! Products whose factors are rounded to bf16 and whose sums are f32: twice the speed on CPUs with AVX512-BF16. A word
//! of a panel is a pair of terms.

use rayon::prelude::*;

use super::matrix::Matrix;
use super::plain;
#[cfg(target_arch = "x86_64")]
use super::{super::instructions::has_avx512, panels};

/// True if this CPU has the instructions.
pub(crate) fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16") && has_avx512();
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// The nearest bf16, ties to even, as f32.
fn round(value: f32) -> f32 {
    let bits = value.to_bits();
    if value.is_nan() { value } else { f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000) }
}

/// `out (m x n) = a (m x k) b (k x n)`, or added to it. Without the instructions in f32, from the same rounded factors.
pub(crate) fn product([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], accumulate: bool) {
    assert!(a.values.len() == m * k && b.values.len() == k * n && out.len() == m * n, "matrices of other dimensions");
    #[cfg(target_arch = "x86_64")]
    if is_supported() {
        // SAFETY: the CPU has the instructions.
        return unsafe { panels::product::<x86::Bf16>([m, n, k], a, b, out, accumulate) };
    }
    let rounded = |matrix: Matrix<'_>| matrix.values.par_iter().map(|&value| round(value)).collect::<Vec<f32>>();
    let (values_a, values_b) = (rounded(a), rounded(b));
    let (a, b) = (Matrix { values: &values_a, ..a }, Matrix { values: &values_b, ..b });
    plain::product([m, n, k], a, b, out, accumulate);
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::panels::{Inner, Lanes, Side};
    use super::round;
    use std::arch::x86_64::*;

    /// AVX512-BF16.
    pub(super) enum Bf16 {}

    impl Inner for Bf16 {
        const ROWS: usize = 12;
        const COLUMNS: usize = 32;
        const TERMS: usize = 2;
        const DEPTH: usize = 128;
        const BLOCK: [usize; 2] = [40, 16];

        unsafe fn pack(side: Side, lanes: Lanes<'_>, packed: &mut [u32]) {
            let size = |width: usize| width * lanes.terms.div_ceil(2);
            // SAFETY: the caller vouches for the instructions.
            unsafe {
                match side {
                    Side::A => packed
                        .chunks_exact_mut(size(12))
                        .enumerate()
                        .for_each(|(panel, packed)| pack_panel::<12>(lanes.skip(panel * 12), packed)),
                    Side::B => packed
                        .chunks_exact_mut(size(32))
                        .enumerate()
                        .for_each(|(panel, packed)| pack_panel::<32>(lanes.skip(panel * 32), packed)),
                }
            }
        }

        #[target_feature(enable = "avx512f,avx512bf16")]
        unsafe fn multiply(a: &[u32], b: &[u32], out: *mut f32, stride: usize, add: bool) {
            let mut sums = [[_mm512_setzero_ps(); 2]; Self::ROWS];
            for (a, b) in a.as_chunks::<{ Self::ROWS }>().0.iter().zip(b.as_chunks::<{ Self::COLUMNS }>().0) {
                // SAFETY: b has 32 values, and any bits are bf16.
                let b: [__m512bh; 2] =
                    unsafe { [0, 16].map(|at| std::mem::transmute(_mm512_loadu_si512(b.as_ptr().add(at).cast()))) };
                for (sums, &a) in sums.iter_mut().zip(a) {
                    // SAFETY: any bits are bf16.
                    let a: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(a as i32)) };
                    sums[0] = _mm512_dpbf16_ps(sums[0], a, b[0]);
                    sums[1] = _mm512_dpbf16_ps(sums[1], a, b[1]);
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                for (half, &sum) in sums.iter().enumerate() {
                    // SAFETY: within what the caller vouches for.
                    unsafe {
                        let out = out.add(row * stride + 16 * half);
                        _mm512_storeu_ps(out, if add { _mm512_add_ps(_mm512_loadu_ps(out), sum) } else { sum });
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pack_panel<const WIDTH: usize>(lanes: Lanes<'_>, packed: &mut [u32]) {
        let bf16 = |value: f32| round(value).to_bits() >> 16;
        let whole = lanes.has(WIDTH);
        if whole && lanes.term == 1 {
            for lane in 0..WIDTH {
                let (chunks, rest) = lanes.row(lane).as_chunks::<32>();
                let mut out = packed[lane..].iter_mut().step_by(WIDTH);
                for chunk in chunks {
                    // SAFETY: a chunk has 32 values, and any bits are a u32.
                    let pairs: [u32; 16] = unsafe {
                        let [low, high] = [0, 16].map(|at| _mm512_loadu_ps(chunk.as_ptr().add(at)));
                        std::mem::transmute(_mm512_cvtne2ps_pbh(high, low))
                    };
                    pairs.iter().zip(&mut out).for_each(|(pair, out)| *out = *pair);
                }
                for (pair, out) in rest.chunks(2).zip(&mut out) {
                    *out = bf16(pair[0]) | pair.get(1).map_or(0, |&value| bf16(value) << 16);
                }
            }
        } else if whole && lanes.lane == 1 {
            for (pair, out) in packed.chunks_exact_mut(WIDTH).enumerate() {
                let even = &lanes.across(2 * pair)[..WIDTH];
                let odd = (2 * pair + 1 < lanes.terms).then(|| &lanes.across(2 * pair + 1)[..WIDTH]);
                for at in (0..WIDTH).step_by(16) {
                    let lanes = ((1u32 << (WIDTH - at).min(16)) - 1) as u16;
                    // SAFETY: all three have `WIDTH` values, of which only those in `lanes` are touched, and any bits
                    // are valid integers.
                    unsafe {
                        let half = |values: &[f32]| {
                            let half = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(lanes, values.as_ptr().add(at)));
                            _mm512_cvtepu16_epi32(std::mem::transmute::<__m256bh, __m256i>(half))
                        };
                        let odd = odd.map_or(_mm512_setzero_si512(), |odd| _mm512_slli_epi32::<16>(half(odd)));
                        let pair = _mm512_or_si512(half(even), odd);
                        _mm512_mask_storeu_epi32(out.as_mut_ptr().add(at).cast(), lanes, pair);
                    }
                }
            }
        } else {
            for (pair, out) in packed.chunks_exact_mut(WIDTH).enumerate() {
                for (lane, out) in out.iter_mut().enumerate() {
                    *out = bf16(lanes.value(lane, 2 * pair)) | bf16(lanes.value(lane, 2 * pair + 1)) << 16;
                }
            }
        }
    }
}
