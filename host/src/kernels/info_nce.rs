//! Symmetric InfoNCE over B pairs, in tiles of rows of the B x B cosines: O(B) values outlive a tile.
//!
//! With logits s = cos / tau, `loss = sum_i (row_i + column_i - 2 s_ii) / 2B`, where `row_i` and `column_i` are the log of
//! the sum of the exponentials of a row and of a column. A first pass over the tiles finds those ([`RowSums`],
//! [`ColumnSums`]), a second turns tiles of cosines into tiles of gradients ([`Gradient`]); [`Reduce`] ends it.

use pulp::Arch;
use rayon::prelude::*;

use super::exp::exp;
use super::{Kernel, buffers, fold, groups};

/// A tile: `rows` whole rows of the `pairs x pairs` cosines, from row `first` on.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub first: usize,
    pub rows: usize,
    pub pairs: usize,
}

impl Tile {
    fn params(&self) -> Vec<u32> {
        vec![self.first as u32, self.rows as u32, self.pairs as u32]
    }

    fn values(&self) -> usize {
        self.rows * self.pairs
    }
}

const WGSL: &str = include_str!("info_nce.wgsl");

/// Reads `cosines (rows x pairs)`, `log_tau (1)`; writes the tile's part of `row (pairs)` and of `own (pairs)`, the logit of
/// each pair.
#[derive(Clone, Copy, Debug)]
pub struct RowSums(pub Tile);

impl Kernel for RowSums {
    fn wgsl(&self) -> &'static str {
        WGSL
    }

    fn entry(&self) -> &'static str {
        "row_sums"
    }

    fn params(&self) -> Vec<u32> {
        self.0.params()
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.0.rows, 1)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([cosines, log_tau], [row, own]) = buffers(reads, writes);
        let (Tile { first, rows, pairs }, inverse, arch) = (self.0, (-log_tau[0]).exp(), Arch::new());
        let sums = row[first..first + rows].par_iter_mut().zip(&mut own[first..first + rows]);
        let cosines = cosines[..self.0.values()].par_chunks(pairs);
        sums.zip(cosines).enumerate().with_min_len(4).for_each(|(at, ((row, own), cosines))| {
            arch.dispatch(
                #[inline(always)]
                || {
                    let most = fold(cosines, f32::NEG_INFINITY, f32::max, f32::max) * inverse;
                    let sum = fold(cosines, 0.0, |sum, c| sum + exp(c * inverse - most), |a, b| a + b);
                    *row = most + sum.ln();
                    *own = cosines[first + at] * inverse;
                },
            );
        });
    }
}

/// Reads `cosines (rows x pairs)`, `log_tau (1)`; brings `most (pairs)` and `sum (pairs)` up to date: of each column's
/// logits so far the largest, and the sum of the exponentials of their distances to it. The tile from row 0 on begins anew.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSums(pub Tile);

/// Columns that a thread of the CPU sums.
const COLUMNS: usize = 128;

impl Kernel for ColumnSums {
    fn wgsl(&self) -> &'static str {
        WGSL
    }

    fn entry(&self) -> &'static str {
        "column_sums"
    }

    fn params(&self) -> Vec<u32> {
        self.0.params()
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.0.pairs, 64)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([cosines, log_tau], [most, sum]) = buffers(reads, writes);
        let (Tile { first, pairs, .. }, inverse, arch) = (self.0, (-log_tau[0]).exp(), Arch::new());
        let cosines = &cosines[..self.0.values()];
        let columns = most[..pairs].par_chunks_mut(COLUMNS).zip(sum.par_chunks_mut(COLUMNS)).enumerate();
        columns.for_each(|(chunk, (most, sum))| {
            let rows = || cosines.chunks_exact(pairs).map(|row| &row[chunk * COLUMNS..]);
            arch.dispatch(
                #[inline(always)]
                || {
                    let mut old = [f32::NEG_INFINITY; COLUMNS];
                    let old = &mut old[..most.len()];
                    if first > 0 {
                        old.copy_from_slice(most);
                    }
                    most.copy_from_slice(old);
                    for row in rows() {
                        most.iter_mut().zip(row).for_each(|(most, c)| *most = most.max(c * inverse));
                    }
                    for ((sum, old), most) in sum.iter_mut().zip(old).zip(&*most) {
                        *sum = if first > 0 { *sum * exp(*old - most) } else { 0.0 };
                    }
                    for row in rows() {
                        for ((sum, most), c) in sum.iter_mut().zip(&*most).zip(row) {
                            *sum += exp(c * inverse - most);
                        }
                    }
                },
            );
        });
    }
}

/// Reads `log_tau (1)`, `row (pairs)`, `most (pairs)`, `sum (pairs)`; turns `tile (rows x pairs)` from cosines into the
/// gradients to them, and writes the tile's part of `slope (pairs)`: of each row the gradient to log tau.
#[derive(Clone, Copy, Debug)]
pub struct Gradient(pub Tile);

impl Kernel for Gradient {
    fn wgsl(&self) -> &'static str {
        WGSL
    }

    fn entry(&self) -> &'static str {
        "gradient"
    }

    fn params(&self) -> Vec<u32> {
        self.0.params()
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.0.rows, 1)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, row, most, sum], [tile, slope]) = buffers(reads, writes);
        let (Tile { first, rows, pairs }, inverse, arch) = (self.0, (-log_tau[0]).exp(), Arch::new());
        let share = inverse / (2.0 * pairs as f32);
        let logs: Vec<f32> = most[..pairs].iter().zip(sum).map(|(most, sum)| most + sum.ln()).collect();
        let (values, slopes) = (tile[..rows * pairs].par_chunks_mut(pairs), &mut slope[first..first + rows]);
        values.zip(slopes).enumerate().with_min_len(4).for_each(|(at, (tile, slope))| {
            let (own, row) = (tile[first + at], row[first + at]);
            arch.dispatch(
                #[inline(always)]
                || {
                    let mut lanes = [0.0; 16];
                    for (tile, logs) in tile.chunks_mut(lanes.len()).zip(logs.chunks(lanes.len())) {
                        for ((value, log), lane) in tile.iter_mut().zip(logs).zip(&mut lanes) {
                            let c = *value;
                            *value = share * (exp(c * inverse - row) + exp(c * inverse - log));
                            *lane -= *value * c;
                        }
                    }
                    tile[first + at] -= 2.0 * share;
                    *slope = lanes.iter().sum::<f32>() + 2.0 * share * own;
                },
            );
        });
    }
}

/// Reads `row`, `most`, `sum`, `own`, `slope (pairs each)`; writes the loss to `losses[step]`, and the gradient to
/// `log_tau` to `to_log_tau (1)`.
#[derive(Clone, Copy, Debug)]
pub struct Reduce {
    pub pairs: usize,
    pub step: usize,
}

impl Kernel for Reduce {
    fn wgsl(&self) -> &'static str {
        WGSL
    }

    fn entry(&self) -> &'static str {
        "reduce"
    }

    fn params(&self) -> Vec<u32> {
        vec![self.step as u32, 1, self.pairs as u32]
    }

    fn workgroups(&self) -> [u32; 3] {
        [1, 1, 1]
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([row, most, sum, own, slope], [losses, to_log_tau]) = buffers(reads, writes);
        let loss = |at: usize| row[at] + most[at] + sum[at].ln() - 2.0 * own[at];
        losses[self.step] = (0..self.pairs).map(loss).sum::<f32>() / (2.0 * self.pairs as f32);
        to_log_tau[0] = slope[..self.pairs].iter().sum();
    }
}
