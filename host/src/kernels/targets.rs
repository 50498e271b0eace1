//! Targets of a loss over B mixed pairs beyond each pair's own, in tiles of the B x B cosines.
//!
//! Several positives: w_ij is the share that rows i and j have of the same items, on the side where it is larger; for
//! rows without mixing it is 1 if they share an item, and else 0 ([`Overlaps`]). Soft targets: the softmax of how
//! similar the latents are ([`Soften`]). Of symmetric InfoNCE, a target is the sum of that of a row and that of a
//! column, each of which sum to 1.

use rayon::prelude::*;

use super::exp::exp;
use super::{Gpu, Kernel, Shader, Tile, groups, slices};

const WGSL: &str = include_str!("targets.wgsl");

/// Facts about a row: its two items on either side, as bits, and the weight of the first of each.
pub const FACTS: usize = 5;

fn shader(entry: &'static str, tile: Tile, diagonal: bool, factors: [f32; 2]) -> Shader {
    let Tile { rows, columns, begin } = tile;
    let params =
        [rows as u32, columns as u32, begin.into(), diagonal.into(), factors[0].to_bits(), factors[1].to_bits()];
    Shader { source: WGSL, entry, params: params.into(), workgroups: groups(rows, 1), ..Shader::default() }
}

/// Reads the facts of rows `(rows x 5)` and of columns `(columns x 5)`; writes `tile (rows x columns)`.
#[derive(Clone, Copy, Debug)]
pub struct Overlaps(pub Tile);

impl Kernel for Overlaps {
    fn name(&self) -> &'static str {
        "overlaps"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("overlaps", self.0, false, [0.0; 2])
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([of_rows, of_columns], [tile]) = slices(reads, writes);
        let rows = tile.par_chunks_mut(self.0.columns).zip(of_rows.par_chunks(FACTS));
        rows.with_min_len(4).for_each(|(tile, row)| {
            for (value, column) in tile.iter_mut().zip(of_columns.chunks_exact(FACTS)) {
                *value = overlap(row, column, 0).max(overlap(row, column, 2));
            }
        });
    }
}

/// The common share of two rows on the side whose items are at `side`.
fn overlap(row: &[f32], column: &[f32], side: usize) -> f32 {
    let item = |facts: &[f32], at: usize| facts[side + at].to_bits();
    let (a, b, first, second) = (row[4], column[4], item(row, 0), item(row, 1));
    let has = |wanted: u32| {
        let share = |at: usize, weight: f32| if item(column, at) == wanted { weight } else { 0.0 };
        share(0, b) + share(1, 1.0 - b)
    };
    if first == second { has(first).min(1.0) } else { a.min(has(first)) + (1.0 - a).min(has(second)) }
}

/// Adds a tile's rows to `sums (rows)`; reads `tile (rows x columns)`.
#[derive(Clone, Copy, Debug)]
pub struct RowTotals(pub Tile);

impl Kernel for RowTotals {
    fn name(&self) -> &'static str {
        "row_totals"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("row_totals", self.0, false, [0.0; 2])
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([tile], [sums]) = slices(reads, writes);
        sums.par_iter_mut().zip(tile.par_chunks(self.0.columns)).with_min_len(4).for_each(|(sum, tile)| {
            let before = if self.0.begin { 0.0 } else { *sum };
            *sum = before + tile.iter().sum::<f32>();
        });
    }
}

/// A sum of overlaps that is none: of what is below it, f32 has no reciprocal.
const NOTHING: f32 = 1e-30;

/// Turns overlaps into targets of a row and of a column: reads the sums `row (rows)`, `column (columns)`; changes
/// `tile (rows x columns)`.
#[derive(Clone, Copy, Debug)]
pub struct Spread(pub Tile);

impl Kernel for Spread {
    fn name(&self) -> &'static str {
        "spread"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("spread", self.0, false, [0.0; 2])
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([row, column], [tile]) = slices(reads, writes);
        tile.par_chunks_mut(self.0.columns).zip(row).with_min_len(4).for_each(|(tile, row)| {
            // Where nothing is in common, nothing is wanted.
            let share = |sum: f32| if sum > NOTHING { 1.0 / sum } else { 0.0 };
            let of_row = share(*row);
            tile.iter_mut().zip(column).for_each(|(value, column)| *value *= of_row + share(*column));
        });
    }
}

/// Turns the sums of both sides' cosines into soft targets of a row and of a column: reads `log_tau (1)`, the logarithm
/// of twice the temperature, and the log-sum-exps `row (rows)`, `column (columns)`; changes `tile (rows x columns)`.
#[derive(Clone, Copy, Debug)]
pub struct Soften {
    pub tile: Tile,
    /// True if the pairs themselves are on the tile's diagonal.
    pub diagonal: bool,
    /// The share of a target that goes by similarity; the rest is the pair's own.
    pub share: f32,
    /// The sum of a row's targets.
    pub whole: f32,
}

impl Kernel for Soften {
    fn name(&self) -> &'static str {
        "soften"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("soften", self.tile, self.diagonal, [self.share, self.whole])
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, row, column], [tile]) = slices(reads, writes);
        let inverse = (-log_tau[0]).exp();
        let (soft, own) = (0.5 * self.whole * self.share, self.whole * (1.0 - self.share));
        tile.par_chunks_mut(self.tile.columns).zip(row).enumerate().with_min_len(4).for_each(|(at, (tile, row))| {
            for (value, column) in tile.iter_mut().zip(column) {
                *value = soft * (exp(*value * inverse - row) + exp(*value * inverse - column));
            }
            if self.diagonal {
                tile[at] += own;
            }
        });
    }
}
