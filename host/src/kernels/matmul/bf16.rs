//! Products whose factors are rounded to bf16 and whose sums are f32: twice the speed on CPUs with AVX512-BF16.
//!
//! Both matrices are packed into panels that the innermost loop reads end to end: `ROWS` rows of a, or `COLUMNS`
//! columns of b, a pair of terms (one u32) after the other. A task computes a block of `out` that its core's cache
//! holds.

use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

use super::matrix::{Matrix, Order};
use super::plain;

/// True if this CPU has the instructions.
pub(crate) fn is_supported() -> bool {
    #[cfg(target_arch = "x86_64")]
    return is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f");
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
        return x86::product([m, n, k], a, b, out, accumulate);
    }
    let rounded = |matrix: Matrix<'_>| matrix.values.par_iter().map(|&value| round(value)).collect::<Vec<f32>>();
    let (values_a, values_b) = (rounded(a), rounded(b));
    let (a, b) = (Matrix { values: &values_a, ..a }, Matrix { values: &values_b, ..b });
    plain::product([m, n, k], a, b, out, accumulate);
}

/// Memory for panels, kept from one product to the next.
static SPARE: Mutex<Vec<Vec<u32>>> = Mutex::new(Vec::new());

/// Lends `work` a vector of `len` arbitrary values.
#[cfg(target_arch = "x86_64")]
fn with_panels<T>(len: usize, work: impl FnOnce(&mut [u32]) -> T) -> T {
    let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let mut panels = spare().pop().unwrap_or_default();
    if panels.len() < len {
        panels.resize(len, 0);
    }
    let done = work(&mut panels[..len]);
    spare().push(panels);
    done
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;
    use std::arch::x86_64::*;

    /// Rows and columns of what the innermost loop computes in registers.
    const ROWS: usize = 12;
    const COLUMNS: usize = 32;
    /// Pairs of terms that it adds at a time: a panel of b then stays in the first-level cache.
    const PAIRS: usize = 128;
    /// The most panels of a, and of b, in a task's block.
    const BLOCK: [usize; 2] = [40, 16];

    pub(super) fn product([m, n, k]: [usize; 3], a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], accumulate: bool) {
        let pairs = k.div_ceil(2);
        let panels = [m.div_ceil(ROWS), n.div_ceil(COLUMNS)];
        with_panels(panels[0] * ROWS * pairs, |packed_a| {
            with_panels(panels[1] * COLUMNS * pairs, |packed_b| {
                let strides = match a.order {
                    Order::Rows => [k, 1],
                    Order::Columns => [1, m],
                };
                pack::<ROWS>(a.values, m, k, strides, packed_a);
                let strides = match b.order {
                    Order::Rows => [1, n],
                    Order::Columns => [k, 1],
                };
                pack::<COLUMNS>(b.values, n, k, strides, packed_b);
                let blocks = Blocks { pairs, a: packed_a, b: packed_b, out: Out(out.as_mut_ptr()), m, n, accumulate };
                let [down, across] = [0, 1].map(|side| split(panels[side], BLOCK[side]));
                (0..down.len() * across.len()).into_par_iter().for_each(|task| {
                    blocks.compute(down[task / across.len()].clone(), across[task % across.len()].clone());
                });
            });
        });
    }

    /// The size of equal parts of `count` things, at most `most`.
    fn split(count: usize, most: usize) -> Vec<std::ops::Range<usize>> {
        let parts = count.div_ceil(most);
        (0..parts).map(|part| part * count / parts..(part + 1) * count / parts).collect()
    }

    /// Packs `count` rows (or columns) of `k` terms; `strides` lead from one row to the next and from one term to the
    /// next.
    fn pack<const WIDTH: usize>(values: &[f32], count: usize, k: usize, strides: [usize; 2], packed: &mut [u32]) {
        packed.par_chunks_mut(WIDTH * k.div_ceil(2)).enumerate().with_min_len(4).for_each(|(panel, packed)| {
            // SAFETY: the caller has asked for the instructions.
            unsafe { pack_panel::<WIDTH>(values, panel * WIDTH, count, k, strides, packed) }
        });
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn pack_panel<const WIDTH: usize>(
        values: &[f32],
        first: usize,
        count: usize,
        k: usize,
        [row, term]: [usize; 2],
        packed: &mut [u32],
    ) {
        let bf16 = |value: f32| round(value).to_bits() >> 16;
        let at = |lane: usize, at: usize| values[(first + lane) * row + at * term];
        let whole = first + WIDTH <= count;
        if whole && term == 1 {
            for lane in 0..WIDTH {
                let (chunks, rest) = values[(first + lane) * row..][..k].as_chunks::<32>();
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
        } else if whole && row == 1 {
            for (pair, out) in packed.chunks_exact_mut(WIDTH).enumerate() {
                let even = &values[2 * pair * term + first..][..WIDTH];
                let odd = (2 * pair + 1 < k).then(|| &values[(2 * pair + 1) * term + first..][..WIDTH]);
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
                    let value = |term| if first + lane < count && term < k { bf16(at(lane, term)) } else { 0 };
                    *out = value(2 * pair) | value(2 * pair + 1) << 16;
                }
            }
        }
    }

    /// The sources and the destination of a product's blocks.
    struct Blocks<'a> {
        pairs: usize,
        a: &'a [u32],
        b: &'a [u32],
        out: Out,
        m: usize,
        n: usize,
        accumulate: bool,
    }

    struct Out(*mut f32);

    // SAFETY: tasks write to blocks that do not overlap.
    unsafe impl Sync for Out {}

    impl Blocks<'_> {
        /// Computes the block of these panels of a and b.
        fn compute(&self, down: std::ops::Range<usize>, across: std::ops::Range<usize>) {
            for first in (0..self.pairs).step_by(PAIRS) {
                let pairs = PAIRS.min(self.pairs - first);
                let add = self.accumulate || first > 0;
                for right in across.clone() {
                    let b = &self.b[(right * self.pairs + first) * COLUMNS..][..pairs * COLUMNS];
                    for under in down.clone() {
                        let a = &self.a[(under * self.pairs + first) * ROWS..][..pairs * ROWS];
                        self.tile(under * ROWS, right * COLUMNS, a, b, add);
                    }
                }
            }
        }

        /// Computes, or adds, the part of `out` from this row and column on that two panels make.
        fn tile(&self, row: usize, column: usize, a: &[u32], b: &[u32], add: bool) {
            let (rows, columns) = (ROWS.min(self.m - row), COLUMNS.min(self.n - column));
            // SAFETY: within `out`, whose other parts are others' to write.
            let out = unsafe { self.out.0.add(row * self.n + column) };
            if rows == ROWS && columns == COLUMNS {
                // SAFETY: `ROWS` rows of `COLUMNS` values, `n` apart, are all within `out`; the caller has checked for
                // the instructions.
                return unsafe { panels(a, b, out, self.n, add) };
            }
            let mut whole = [0.0; ROWS * COLUMNS];
            // SAFETY: as above, within `whole`.
            unsafe { panels(a, b, whole.as_mut_ptr(), COLUMNS, false) };
            for (row, values) in whole.chunks_exact(COLUMNS).take(rows).enumerate() {
                // SAFETY: `rows` rows of `columns` values are within `out`.
                let out = unsafe { std::slice::from_raw_parts_mut(out.add(row * self.n), columns) };
                out.iter_mut().zip(values).for_each(|(out, value)| *out = value + if add { *out } else { 0.0 });
            }
        }
    }

    /// Multiplies a panel of a by one of b.
    ///
    /// # Safety
    /// `out` must be good for `ROWS` rows of `COLUMNS` values, `stride` apart.
    #[target_feature(enable = "avx512f,avx512bf16")]
    unsafe fn panels(a: &[u32], b: &[u32], out: *mut f32, stride: usize, add: bool) {
        let mut sums = [[_mm512_setzero_ps(); 2]; ROWS];
        for (a, b) in a.as_chunks::<ROWS>().0.iter().zip(b.as_chunks::<COLUMNS>().0) {
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
