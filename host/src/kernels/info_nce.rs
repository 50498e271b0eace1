//! Symmetric InfoNCE over B pairs, in tiles of the B x B cosines: O(B) values outlive a tile.
//!
//! With logits s = cos / tau, `loss = sum_i (row_i + column_i - 2 s_ii) / 2B`, where `row_i` and `column_i` are the log
//! of the sum of the exponentials of a row and of a column. A first pass over the tiles finds those online
//! ([`RowSums`], [`ColumnSums`], [`Diagonal`], then [`LogSums`]), a second turns tiles of cosines into tiles of
//! gradients ([`Gradient`]); [`Reduce`] ends it.

use pulp::Simd;
use rayon::prelude::*;

use super::exp::exp;
use super::{Gpu, Halve, Kernel, Shader, arch, fold, groups, larger, slices};

const WGSL: &str = concat!(include_str!("info_nce.wgsl"), include_str!("half.wgsl"));

/// A tile of cosines, row by row.
#[derive(Clone, Copy, Debug)]
pub struct Tile {
    pub rows: usize,
    pub columns: usize,
    /// True if this is the first tile of its rows (in a kernel over columns, of its columns).
    pub begin: bool,
}

impl Tile {
    fn shader(self, entry: &'static str, workgroups: [u32; 3]) -> Shader {
        let params = vec![self.rows as u32, self.columns as u32, self.begin.into(), 0, 0];
        Shader { source: WGSL, entry, params, workgroups, ..Shader::default() }
    }
}

/// Updates the log-sum-exps of a tile's rows: reads `cosines (rows x columns)`, `log_tau (1)`; changes `most (rows)`,
/// the largest logit so far, and `sum (rows)`, that of the exponentials of the distances to it.
#[derive(Clone, Copy, Debug)]
pub struct RowSums(pub Tile);

impl Kernel for RowSums {
    fn name(&self) -> &'static str {
        "row_sums"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        self.0.shader("row_sums", groups(self.0.rows, 1))
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([cosines, log_tau], [most, sum]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.0, (-log_tau[0]).exp());
        let sums = most.par_iter_mut().zip(sum).zip(cosines.par_chunks(columns));
        sums.with_min_len(4).for_each(|((most, sum), cosines)| {
            let before = if begin { (f32::NEG_INFINITY, 0.0) } else { (*most, *sum) };
            (*most, *sum) = add_row(before, cosines, inverse);
        });
    }
}

/// A row's largest logit and its sum, with those of more cosines.
#[pulp::with_simd(add_row = arch())]
#[inline(always)]
fn add_row_with<'a, S: Simd>(_: S, (old, before): (f32, f32), cosines: &'a [f32], inverse: f32) -> (f32, f32) {
    let new = old.max(fold(cosines, f32::NEG_INFINITY, larger, larger) * inverse);
    let added = fold(cosines, 0.0, |sum, c| sum + exp(c * inverse - new), |a, b| a + b);
    (new, before * exp(old - new) + added)
}

/// The same for a tile's columns: changes `most (columns)` and `sum (columns)`.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSums(pub Tile);

/// Columns that a thread of the CPU sums.
const COLUMNS: usize = 128;

impl Kernel for ColumnSums {
    fn name(&self) -> &'static str {
        "column_sums"
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        let constants = vec![("LANES", gpu.lanes().into())];
        Shader { constants, ..self.0.shader("column_sums", groups(self.0.columns, 16)) }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([cosines, log_tau], [most, sum]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.0, (-log_tau[0]).exp());
        let parts = most.par_chunks_mut(COLUMNS).zip(sum.par_chunks_mut(COLUMNS)).enumerate();
        parts.for_each(|(chunk, (most, sum))| {
            if begin {
                most.fill(f32::NEG_INFINITY);
                sum.fill(0.0);
            }
            add_columns(most, sum, &cosines[chunk * COLUMNS..], columns, inverse);
        });
    }
}

/// As many columns as `most` has, with those of more rows, `stride` apart.
#[pulp::with_simd(add_columns = arch())]
#[inline(always)]
fn add_columns_with<'a, S: Simd>(
    _: S,
    most: &'a mut [f32],
    sum: &'a mut [f32],
    cosines: &'a [f32],
    stride: usize,
    inverse: f32,
) {
    let mut old = [0.0; COLUMNS];
    let old = &mut old[..most.len()];
    old.copy_from_slice(most);
    for row in cosines.chunks(stride) {
        most.iter_mut().zip(row).for_each(|(most, c)| *most = most.max(c * inverse));
    }
    for ((sum, old), most) in sum.iter_mut().zip(old).zip(&*most) {
        *sum *= exp(*old - most);
    }
    for row in cosines.chunks(stride) {
        for ((sum, most), c) in sum.iter_mut().zip(&*most).zip(row) {
            *sum += exp(c * inverse - most);
        }
    }
}

/// The logits of the pairs themselves: reads a tile on the diagonal, `cosines (count x count)`, and `log_tau (1)`;
/// writes `own (count)`.
#[derive(Clone, Copy, Debug)]
pub struct Diagonal {
    pub count: usize,
}

impl Kernel for Diagonal {
    fn name(&self) -> &'static str {
        "diagonal"
    }

    fn bytes(&self, _: u64) -> u64 {
        8 * self.count as u64
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let tile = Tile { rows: self.count, columns: self.count, begin: false };
        tile.shader("diagonal", groups(self.count, 64))
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([cosines, log_tau], [own]) = slices(reads, writes);
        let inverse = (-log_tau[0]).exp();
        own.iter_mut().zip(cosines.iter().step_by(self.count + 1)).for_each(|(own, c)| *own = c * inverse);
    }
}

/// Reads `sum (count)`; turns `most (count)` into the log of the sum of the exponentials.
#[derive(Clone, Copy, Debug)]
pub struct LogSums {
    pub count: usize,
}

impl Kernel for LogSums {
    fn name(&self) -> &'static str {
        "log_sums"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let params = vec![self.count as u32, 0, 0, 0, 0];
        Shader { source: WGSL, entry: "log_sums", params, workgroups: groups(self.count, 64), ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([sum], [most]) = slices(reads, writes);
        most.iter_mut().zip(sum).for_each(|(most, sum)| *most += sum.ln());
    }
}

/// Reads `log_tau (1)`, `row (rows)`, `column (columns)`, the log-sum-exps; turns `tile (rows x columns)` from cosines
/// into their gradients, and adds each row's gradient to log tau to `slope (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct Gradient {
    pub tile: Tile,
    /// B.
    pub pairs: usize,
    /// True if the pairs themselves are on the tile's diagonal.
    pub diagonal: bool,
}

impl Kernel for Gradient {
    fn name(&self) -> &'static str {
        "gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let mut shader = self.tile.shader("gradient", groups(self.tile.rows, 1));
        shader.params[3..].copy_from_slice(&[self.pairs as u32, self.diagonal.into()]);
        shader
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, row, column], [tile, slope]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.tile, (-log_tau[0]).exp());
        let share = inverse / (2.0 * self.pairs as f32);
        let rows = tile.par_chunks_mut(columns).zip(slope).zip(row).enumerate();
        rows.with_min_len(4).for_each(|(at, ((tile, slope), &row))| {
            let own = if self.diagonal { tile[at] } else { 0.0 };
            let before = if begin { 0.0 } else { *slope };
            *slope = before + differentiate(tile, column, row, inverse, share) + 2.0 * share * own;
            if self.diagonal {
                tile[at] -= 2.0 * share;
            }
        });
    }
}

/// [`Gradient`] with the gradients, times `scale`, in [`Format::F16`]: reads `log_tau (1)`, `row (rows)`, `column
/// (columns)` and the cosines `tile (rows x columns)`; writes the gradients, and writes or adds to `slope (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct HalfGradient {
    pub gradient: Gradient,
    /// The power of two that brings them into f16's range.
    pub scale: f32,
}

impl Kernel for HalfGradient {
    fn name(&self) -> &'static str {
        "half_gradient"
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        let mut shader = Shader { entry: "half_gradient", ..self.gradient.shader(gpu) };
        shader.params.push(self.scale.to_bits());
        shader
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, row, column, tile], [half_tile, slope]) = slices(reads, writes);
        let Tile { rows, columns, .. } = self.gradient.tile;
        let mut tile = tile.to_vec();
        self.gradient.twin(&[log_tau, row, column], &mut [&mut tile, slope]);
        Halve { rows, width: columns, scale: self.scale }.twin(&[&tile], &mut [half_tile]);
    }
}

/// A row of cosines into that of their gradients but for the pair itself; returns its gradient to log tau.
#[pulp::with_simd(differentiate = arch())]
#[inline(always)]
fn differentiate_with<'a, S: Simd>(
    _: S,
    tile: &'a mut [f32],
    column: &'a [f32],
    row: f32,
    inverse: f32,
    share: f32,
) -> f32 {
    let mut lanes = [0.0; 16];
    for (tile, column) in tile.chunks_mut(lanes.len()).zip(column.chunks(lanes.len())) {
        for ((value, column), lane) in tile.iter_mut().zip(column).zip(&mut lanes) {
            let c = *value;
            *value = share * (exp(c * inverse - row) + exp(c * inverse - column));
            *lane -= *value * c;
        }
    }
    lanes.iter().sum()
}

/// [`Gradient`] to other targets than each pair's own: reads `log_tau (1)`, the log-sum-exps `row (rows)`, `column
/// (columns)`, and `targets (rows x columns)`, each the sum of that of a row and that of a column; turns `tile (rows x
/// columns)` from cosines into their gradients, and adds each row's gradient to log tau to `slope (rows)`, and half of
/// its logits times their targets to `own (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct TargetGradient {
    pub tile: Tile,
    /// B.
    pub pairs: usize,
}

impl Kernel for TargetGradient {
    fn name(&self) -> &'static str {
        "target_gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let mut shader = self.tile.shader("target_gradient", groups(self.tile.rows, 1));
        shader.params[3] = self.pairs as u32;
        shader
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, row, column, targets], [tile, slope, own]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.tile, (-log_tau[0]).exp());
        let share = inverse / (2.0 * self.pairs as f32);
        let rows = tile.par_chunks_mut(columns).zip(slope).zip(own).zip(targets.par_chunks(columns)).enumerate();
        rows.with_min_len(4).for_each(|(at, (((tile, slope), own), targets))| {
            let (mut to_slope, mut to_own) = (0.0, 0.0);
            for ((value, column), target) in tile.iter_mut().zip(column).zip(targets) {
                let c = *value;
                let both = exp(c * inverse - row[at]) + exp(c * inverse - column);
                *value = share * (both - target);
                to_slope -= *value * c;
                to_own += target * c;
            }
            let before = |old: f32| if begin { 0.0 } else { old };
            *slope = before(*slope) + to_slope;
            *own = before(*own) + 0.5 * inverse * to_own;
        });
    }
}

/// Reads `row`, `column`, `own`, `slope (pairs each)`; writes the loss to `losses[step]`, and the gradient to log tau
/// to `to_log_tau (1)`.
#[derive(Clone, Copy, Debug)]
pub struct Reduce {
    pub pairs: usize,
    pub step: usize,
}

impl Kernel for Reduce {
    fn name(&self) -> &'static str {
        "reduce"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let params = vec![self.pairs as u32, self.step as u32, 0, 0, 0];
        Shader { source: WGSL, entry: "reduce", params, workgroups: [1, 1, 1], ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([row, column, own, slope], [losses, to_log_tau]) = slices(reads, writes);
        let loss = |at: usize| f64::from(row[at]) + f64::from(column[at]) - 2.0 * f64::from(own[at]);
        losses[self.step] = ((0..self.pairs).map(loss).sum::<f64>() / (2.0 * self.pairs as f64)) as f32;
        to_log_tau[0] = slope[..self.pairs].iter().map(|&slope| f64::from(slope)).sum::<f64>() as f32;
    }
}
