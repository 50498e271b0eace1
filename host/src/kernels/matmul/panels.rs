//! Products in blocks. Both matrices are packed into panels that an innermost loop reads end to end: some rows of a,
//! or some columns of b, a word of 32 bits (one term or two) after the other. A task computes a block of `out` that its
//! core's cache holds. The order of a sum depends on its number of terms alone.

use bytemuck::{Pod, Zeroable, cast_slice_mut};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::matrix::Matrix;
use crate::pages::Pages;

/// An innermost loop, and the form of the panels that it reads.
pub(super) trait Inner {
    /// Rows and columns of what it computes in registers.
    const ROWS: usize;
    const COLUMNS: usize;
    /// Terms in a word.
    const TERMS: usize;
    /// Words that it adds at a time: a panel of b then stays in the first-level cache.
    const DEPTH: usize;
    /// The most panels of a, and of b, in a task's block.
    const BLOCK: [usize; 2];

    /// Packs neighbouring panels, each of as many lanes as the side has.
    ///
    /// # Safety
    /// The CPU must have the instructions.
    unsafe fn pack(side: Side, lanes: Lanes<'_>, packed: &mut [u32]);

    /// Writes, or adds, the product of a panel of a and one of b.
    ///
    /// # Safety
    /// The CPU must have the instructions, and `out` be good for `ROWS` rows of `COLUMNS` values, `stride` apart.
    unsafe fn multiply(a: &[u32], b: &[u32], out: *mut f32, stride: usize, add: bool);
}

/// A factor of a product.
#[derive(Clone, Copy, Debug)]
pub(super) enum Side {
    A,
    B,
}

/// Rows of a, or columns of b, from lane `first` on.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'a> {
    pub(super) values: &'a [f32],
    pub(super) first: usize,
    /// Lanes of the matrix.
    pub(super) count: usize,
    /// Terms of a lane.
    pub(super) terms: usize,
    /// The distance from one lane to the next, and from one term to the next.
    pub(super) lane: usize,
    pub(super) term: usize,
}

impl<'a> Lanes<'a> {
    /// True if `width` lanes are there.
    pub(super) fn has(self, width: usize) -> bool {
        self.first + width <= self.count
    }

    /// The lanes behind the first `count`.
    pub(super) fn skip(self, count: usize) -> Self {
        Self { first: self.first + count, ..self }
    }

    /// The value of a lane, counted from the first one, at a term; 0 outside of the matrix.
    pub(super) fn value(self, lane: usize, term: usize) -> f32 {
        let inside = self.first + lane < self.count && term < self.terms;
        if inside { self.values[(self.first + lane) * self.lane + term * self.term] } else { 0.0 }
    }

    /// All terms of a lane, if they are neighbours.
    pub(super) fn row(self, lane: usize) -> &'a [f32] {
        &self.values[(self.first + lane) * self.lane..][..self.terms]
    }

    /// The values of all lanes from the first one on at a term, if they are neighbours.
    pub(super) fn across(self, term: usize) -> &'a [f32] {
        &self.values[term * self.term + self.first..]
    }
}

/// 64 bytes, the line of a cache.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([u32; 16]);

/// Memory for panels, kept from one product to the next.
static SPARE: Mutex<Vec<Pages<Line>>> = Mutex::new(Vec::new());

/// Lends `work` slices of arbitrary words, each of which begins with a line.
pub(super) fn with_words<T>(lens: [usize; 2], work: impl FnOnce([&mut [u32]; 2]) -> T) -> T {
    let spare = || SPARE.lock().unwrap_or_else(PoisonError::into_inner);
    let lines = lens.map(|len| len.div_ceil(16));
    let len = lines[0] + lines[1];
    let mut memory = best(&mut spare(), len);
    if memory.len() < len {
        drop(memory);
        memory = Pages::zeros(len);
    }
    let (a, b) = memory.split_at_mut(lines[0]);
    let done = work([&mut cast_slice_mut(a)[..lens[0]], &mut cast_slice_mut(b)[..lens[1]]]);
    spare().push(memory);
    done
}

/// The smallest of these of at least `len` lines, or the largest, so that no more of them grow than are used at a time.
fn best(spare: &mut Vec<Pages<Line>>, len: usize) -> Pages<Line> {
    let fits = |lines: &Pages<Line>| lines.len() >= len;
    let distance = |lines: &Pages<Line>| lines.len().abs_diff(len);
    let best = (0..spare.len()).min_by_key(|&at| (!fits(&spare[at]), distance(&spare[at])));
    best.map(|at| spare.swap_remove(at)).unwrap_or_else(|| Pages::zeros(0))
}

/// `out (m x n) = a (m x k) b (k x n)`, or added to it.
///
/// # Safety
/// The CPU must have the instructions.
pub(super) unsafe fn product<I: Inner>(
    [m, n, k]: [usize; 3],
    a: Matrix<'_>,
    b: Matrix<'_>,
    out: &mut [f32],
    accumulate: bool,
) {
    let words = k.div_ceil(I::TERMS);
    let panels = [m.div_ceil(I::ROWS), n.div_ceil(I::COLUMNS)];
    let ([a_row, a_column], [b_row, b_column]) = (a.order.strides(m, k), b.order.strides(k, n));
    let a = Lanes { values: a.values, first: 0, count: m, terms: k, lane: a_row, term: a_column };
    let b = Lanes { values: b.values, first: 0, count: n, terms: k, lane: b_column, term: b_row };
    with_words([panels[0] * I::ROWS * words, panels[1] * I::COLUMNS * words], |[packed_a, packed_b]| {
        pack::<I>(Side::A, a, I::ROWS, words, packed_a);
        pack::<I>(Side::B, b, I::COLUMNS, words, packed_b);
        let blocks = Blocks { words, a: packed_a, b: packed_b, out: Out(out.as_mut_ptr()), m, n, accumulate };
        let [down, across] = block::<I>(panels);
        let [down, across] = [split(panels[0], down), split(panels[1], across)];
        (0..down.len() * across.len()).into_par_iter().with_max_len(1).for_each(|task| {
            blocks.compute::<I>(down[task / across.len()].clone(), across[task % across.len()].clone());
        });
    });
}

/// Packs a factor.
fn pack<I: Inner>(side: Side, lanes: Lanes<'_>, width: usize, words: usize, packed: &mut [u32]) {
    /// Lanes that a task packs: neighbours share lines of the matrix.
    const LANES: usize = 96;
    let panels = (LANES / width).max(1);
    packed.par_chunks_mut(panels * width * words).enumerate().for_each(|(part, packed)| {
        // SAFETY: the caller has checked for the instructions.
        unsafe { I::pack(side, lanes.skip(part * panels * width), packed) }
    });
}

/// The panels of a task's block: fewer than the most where tasks would be too few for all threads to end together.
fn block<I: Inner>(panels: [usize; 2]) -> [usize; 2] {
    let wanted = 4 * rayon::current_num_threads();
    let mut block = I::BLOCK;
    while panels[0].div_ceil(block[0]) * panels[1].div_ceil(block[1]) < wanted && block[0] > 4 {
        block = if block[1] * I::COLUMNS > block[0] * I::ROWS {
            [block[0], block[1] / 2]
        } else {
            [block[0] / 2, block[1]]
        };
    }
    block
}

/// Equal parts of `count` things, of at most `most`.
pub(super) fn split(count: usize, most: usize) -> Vec<Range<usize>> {
    let parts = count.div_ceil(most);
    (0..parts).map(|part| part * count / parts..(part + 1) * count / parts).collect()
}

/// The sources and the destination of a product's blocks.
struct Blocks<'a> {
    words: usize,
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
    fn compute<I: Inner>(&self, down: Range<usize>, across: Range<usize>) {
        for part in split(self.words, I::DEPTH) {
            let add = self.accumulate || part.start > 0;
            for right in across.clone() {
                let b = &self.b[(right * self.words + part.start) * I::COLUMNS..][..part.len() * I::COLUMNS];
                for under in down.clone() {
                    let a = &self.a[(under * self.words + part.start) * I::ROWS..][..part.len() * I::ROWS];
                    self.tile::<I>(under * I::ROWS, right * I::COLUMNS, a, b, add);
                }
            }
        }
    }

    /// Computes, or adds, the part of `out` from this row and column on that two panels make.
    fn tile<I: Inner>(&self, row: usize, column: usize, a: &[u32], b: &[u32], add: bool) {
        let (rows, columns) = (I::ROWS.min(self.m - row), I::COLUMNS.min(self.n - column));
        // SAFETY: within `out`, whose other parts are others' to write.
        let out = unsafe { self.out.0.add(row * self.n + column) };
        if rows == I::ROWS && columns == I::COLUMNS {
            // SAFETY: `ROWS` rows of `COLUMNS` values, `n` apart, are all within `out`; the caller has checked for the
            // instructions.
            return unsafe { I::multiply(a, b, out, self.n, add) };
        }
        let mut whole = [0.0; 512];
        assert!(I::ROWS * I::COLUMNS <= whole.len(), "room for what is computed in registers");
        // SAFETY: as above, within `whole`.
        unsafe { I::multiply(a, b, whole.as_mut_ptr(), I::COLUMNS, false) };
        for (row, values) in whole.chunks_exact(I::COLUMNS).take(rows).enumerate() {
            // SAFETY: `rows` rows of `columns` values are within `out`.
            let out = unsafe { std::slice::from_raw_parts_mut(out.add(row * self.n), columns) };
            out.iter_mut().zip(values).for_each(|(out, value)| *out = value + if add { *out } else { 0.0 });
        }
    }
}
