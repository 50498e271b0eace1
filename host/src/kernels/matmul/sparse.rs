//! Products of f32 by AVX2 of which one factor has many zeros, as dropout leaves it: what they multiply is left out.
//!
//! Each lane of that factor becomes a list of its other values. A value multiplies a row of a panel of the other
//! factor, into sums that stay in registers. The order of a sum depends on its number of terms alone.

use rayon::prelude::*;
use std::arch::x86_64::*;
use std::ops::Range;

use super::fma::{pack, transposed};
use super::matrix::Matrix;
use super::panels::{Lanes, split, with_words};

/// Values of a row of a panel, 12 vectors.
const COLUMNS: usize = 96;
/// Terms whose rows of a panel stay in the first-level cache, 24 KiB, and terms whose lists a task makes at a time.
const NEAR: usize = 64;
const TERMS: usize = 8 * NEAR;
/// Lanes whose sums are in the first-level cache at a time.
const LANES: usize = 64;
/// Lanes that are listed together: their values at a term are neighbours, in two lines of the cache.
const LISTED: usize = 32;
/// The most lanes, and panels, of a task.
const BLOCK: [usize; 2] = [4 * LANES, 16];
/// Words of a lane's list: an entry is a value and the place of its term in a panel, in bytes. They are written by
/// eights.
const LIST: usize = 2 * TERMS + 16;

/// True if more than half of a matrix seems to be zeros.
pub(super) fn is_sparse(values: &[f32]) -> bool {
    /// Places to look at, which no width of a row lines up with.
    const LOOKS: usize = 256;
    let at = |look: usize| (look + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) % values.len();
    (0..LOOKS).filter(|&look| values[at(look)] == 0.0).count() > LOOKS / 2
}

/// `out (m x n) = a (m x k) b (k x n)`, or added to it, with zeros in `a`; `out` lies column by column if it is
/// `across`.
///
/// # Safety
/// The CPU must have AVX2 and FMA.
pub(super) unsafe fn product(
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    (out, across): (&mut [f32], bool),
    accumulate: bool,
) {
    let ([a_row, a_column], [b_row, b_column]) = (a.order.strides(m, k), b.order.strides(k, n));
    let a = Lanes { values: a.values, first: 0, count: m, terms: k, lane: a_row, term: a_column };
    let b = Lanes { values: b.values, first: 0, count: n, terms: k, lane: b_column, term: b_row };
    let panels = n.div_ceil(COLUMNS);
    with_words([panels * COLUMNS * k, 0], |[packed, _]| {
        packed.par_chunks_mut(COLUMNS * k).enumerate().for_each(|(panel, packed)| {
            // SAFETY: the caller vouches for the instructions.
            unsafe { pack::<COLUMNS>(b.skip(panel * COLUMNS), packed) }
        });
        let strides = if across { [1, m] } else { [n, 1] };
        let sums = Sums { a, n, packed, out: Out(out.as_mut_ptr()), strides, accumulate };
        let [lanes, block] = block(m, panels);
        let [down, across] = [split(m, lanes), split(panels, block)];
        (0..down.len() * across.len()).into_par_iter().with_max_len(1).for_each(|task| {
            let (lanes, panels) = (down[task / across.len()].clone(), across[task % across.len()].clone());
            // SAFETY: the caller vouches for the instructions.
            unsafe { sums.compute(lanes, panels) }
        });
    });
}

/// The lanes and panels of a task: fewer than the most where tasks would be too few for all threads to end together.
fn block(m: usize, panels: usize) -> [usize; 2] {
    let wanted = 4 * rayon::current_num_threads();
    let [mut lanes, mut block] = BLOCK;
    while lanes > LISTED && m.div_ceil(lanes) * panels.div_ceil(block) < wanted {
        // A task lists its lanes and reads its panels: twice as many tasks do one of both twice as often.
        if lanes > 2 * LANES || block < 4 { lanes /= 2 } else { block /= 2 }
    }
    [lanes, block]
}

struct Out(*mut f32);

// SAFETY: tasks write to blocks that do not overlap.
unsafe impl Sync for Out {}

/// The sources and the destination of a product's blocks.
struct Sums<'a> {
    a: Lanes<'a>,
    n: usize,
    /// Panels of `COLUMNS` columns of b.
    packed: &'a [u32],
    out: Out,
    /// The distance from one row of `out` to the next, and from one column to the next.
    strides: [usize; 2],
    accumulate: bool,
}

impl Sums<'_> {
    /// Computes the block of these lanes of a and panels of b.
    #[target_feature(enable = "avx2,fma")]
    fn compute(&self, lanes: Range<usize>, panels: Range<usize>) {
        let (rows, width, terms) = (lanes.len().next_multiple_of(8), panels.len() * COLUMNS, self.a.terms);
        with_words([rows * LIST, rows * width], |[lists, sums]| {
            let mut ends = [[0; TERMS / NEAR]; BLOCK[0]];
            sums.fill(0);
            for first in (0..terms).step_by(TERMS) {
                let part = first..terms.min(first + TERMS);
                for (at, lists) in lists.chunks_mut(LISTED * LIST).enumerate() {
                    let first = at * LISTED;
                    list(self.a.skip(lanes.start + first), part.clone(), lists, &mut ends[first..]);
                }
                for (at, panel) in panels.clone().enumerate() {
                    let b = &self.packed[(panel * terms + first) * COLUMNS..][..part.len() * COLUMNS];
                    for group in split(lanes.len(), LANES) {
                        for (near, b) in b.chunks(NEAR * COLUMNS).enumerate() {
                            for lane in group.clone() {
                                let start = if near == 0 { 0 } else { ends[lane][near - 1] };
                                let list = &lists[lane * LIST..][start..ends[lane][near]];
                                let sums = &mut sums[lane * width + at * COLUMNS..][..COLUMNS];
                                add(list.as_chunks().0, b, sums.try_into().expect("a row of a panel"));
                            }
                        }
                    }
                }
            }
            self.write(lanes, panels, sums);
        });
    }

    /// Writes the sums of a block to `out`, or adds them.
    fn write(&self, lanes: Range<usize>, panels: Range<usize>, sums: &[u32]) {
        let width = panels.len() * COLUMNS;
        let first = panels.start * COLUMNS;
        let columns = width.min(self.n - first);
        let [row, column] = self.strides;
        let set = |lane: usize, at: usize| {
            let sum = f32::from_bits(sums[lane * width + at]);
            // SAFETY: within `out`, whose other parts are others' to write.
            let out = unsafe { &mut *self.out.0.add((lanes.start + lane) * row + (first + at) * column) };
            *out = if self.accumulate { *out + sum } else { sum };
        };
        if column == 1 {
            return (0..lanes.len()).for_each(|lane| (0..columns).for_each(|at| set(lane, at)));
        }
        // 16 lanes at a time: a line of `out`, whose part of the sums stays in the first-level cache.
        for group in split(lanes.len(), 16) {
            (0..columns).for_each(|at| group.clone().for_each(|lane| set(lane, at)));
        }
    }
}

/// Adds the products of a list's values with rows of a panel.
#[target_feature(enable = "avx2,fma")]
fn add(list: &[[u32; 2]], b: &[u32], sums: &mut [u32; COLUMNS]) {
    let out: *mut f32 = sums.as_mut_ptr().cast();
    // SAFETY: 12 vectors are 96 values; the list's places are those of whole rows of b.
    unsafe {
        let mut sums: [__m256; COLUMNS / 8] = std::array::from_fn(|at| _mm256_loadu_ps(out.add(8 * at)));
        for &[value, place] in list {
            let value = _mm256_set1_ps(f32::from_bits(value));
            let row: *const f32 = b.as_ptr().byte_add(place as usize).cast();
            for (at, sum) in sums.iter_mut().enumerate() {
                *sum = _mm256_fmadd_ps(value, _mm256_loadu_ps(row.add(8 * at)), *sum);
            }
        }
        for (at, sum) in sums.into_iter().enumerate() {
            _mm256_storeu_ps(out.add(8 * at), sum);
        }
    }
}

/// The places of the bits that are set in a byte, and then any.
static SET: [[u32; 8]; 256] = {
    let mut set = [[0; 8]; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut bit, mut count) = (0, 0);
        while bit < 8 {
            if byte >> bit & 1 == 1 {
                set[byte][count] = bit;
                count += 1;
            }
            bit += 1;
        }
        byte += 1;
    }
    set
};

/// Lists some terms of up to `LISTED` lanes, a multiple of eight, each in `LIST` words; `ends` are where every `NEAR`
/// terms end, in words.
#[target_feature(enable = "avx2")]
fn list(lanes: Lanes<'_>, terms: Range<usize>, lists: &mut [u32], ends: &mut [[usize; TERMS / NEAR]]) {
    let mut counts = [0; LISTED];
    let count = lists.len() / LIST;
    for (step, term) in terms.step_by(8).enumerate() {
        let first = 8 * step % NEAR;
        for group in (0..count).step_by(8) {
            for (lane, values) in (group..).zip(eight(lanes.skip(group), term)) {
                let out = &mut lists[lane * LIST + counts[lane]..][..16];
                counts[lane] += entries(values, first, out.try_into().expect("room for eight entries"));
            }
        }
        let near = 8 * step / NEAR;
        ends.iter_mut().zip(&counts[..count]).for_each(|(ends, count)| ends[near] = *count);
    }
}

/// Writes the entries of those of eight values that are not 0, from term `first` on, and returns their words.
#[inline]
#[target_feature(enable = "avx2")]
fn entries(values: __m256, first: usize, out: &mut [u32; 16]) -> usize {
    let set = _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_NEQ_UQ>(values, _mm256_setzero_ps())) as usize;
    // SAFETY: eight places, and room for eight entries.
    unsafe {
        let order = _mm256_loadu_si256(SET[set].as_ptr().cast());
        let values = _mm256_permutevar8x32_ps(values, order);
        let terms = _mm256_add_epi32(order, _mm256_set1_epi32(first as i32));
        let places = _mm256_castsi256_ps(_mm256_mullo_epi32(terms, _mm256_set1_epi32(4 * COLUMNS as i32)));
        let [low, high] = [_mm256_unpacklo_ps(values, places), _mm256_unpackhi_ps(values, places)];
        let out: *mut f32 = out.as_mut_ptr().cast();
        _mm256_storeu_ps(out, _mm256_permute2f128_ps::<0x20>(low, high));
        _mm256_storeu_ps(out.add(8), _mm256_permute2f128_ps::<0x31>(low, high));
    }
    2 * set.count_ones() as usize
}

/// Eight terms of each of eight lanes; zeros outside of the matrix.
#[inline]
#[target_feature(enable = "avx2")]
fn eight(lanes: Lanes<'_>, term: usize) -> [__m256; 8] {
    let whole = lanes.has(8) && term + 8 <= lanes.terms;
    // SAFETY: eight values each.
    let load = |values: &[f32]| unsafe { _mm256_loadu_ps(values[..8].as_ptr()) };
    if whole && lanes.term == 1 {
        std::array::from_fn(|lane| load(&lanes.row(lane)[term..]))
    } else if whole && lanes.lane == 1 {
        transposed(std::array::from_fn(|at| load(lanes.across(term + at))))
    } else {
        std::array::from_fn(|lane| load(&std::array::from_fn::<_, 8, _>(|at| lanes.value(lane, term + at))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::{Order, tests::random};

    #[test]
    fn the_products_of_what_dropout_leaves() {
        if !super::super::fma::Avx2::is_supported() {
            return;
        }
        for [m, n, k] in [[1, 1, 1], [9, 97, 65], [63, 96, 520], [300, 257, 64], [70, 500, 1100]] {
            let (mut x, y, before) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
            x.iter_mut().zip(random(m * k, 4)).filter(|(_, kept)| *kept < 0.2).for_each(|(x, _)| *x = 0.0);
            assert!(x.len() < 1000 || (is_sparse(&x) && !is_sparse(&y)));
            let orders = [Order::Rows, Order::Columns];
            for (a, b, across) in orders.into_iter().flat_map(|a| orders.map(|b| (a, b, a == b))) {
                let [of_x, of_y] = [(&x, a), (&y, b)].map(|(values, order)| Matrix { values, order });
                for accumulate in [false, true] {
                    let mut out = before.clone();
                    // SAFETY: the CPU has the instructions.
                    unsafe { product([m, n, k], of_x, of_y, (&mut out, across), accumulate) };
                    let ([a_row, a_term], [b_term, b_column]) = (a.strides(m, k), b.strides(k, n));
                    for (row, column) in (0..m).flat_map(|row| (0..n).map(move |column| (row, column))) {
                        let at = if across { column * m + row } else { row * n + column };
                        let term = |t: usize| {
                            f64::from(x[row * a_row + t * a_term]) * f64::from(y[t * b_term + column * b_column])
                        };
                        let sum = (0..k).map(term).sum::<f64>() + if accumulate { f64::from(before[at]) } else { 0.0 };
                        let apart = (f64::from(out[at]) - sum).abs();
                        assert!(apart < 2e-5 * sum.abs().max(1.0), "{m} {n} {k}, {a:?} {b:?}: {} {sum}", out[at]);
                    }
                }
            }
        }
    }
}
