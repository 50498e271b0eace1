//! The divergence between the neighbourhoods of rows in two spaces, in tiles of their B x B cosines (the regulariser of
//! STRUCTURE, arXiv 2506.16895, at its first level).
//!
//! Of row i, p and q are the softmax of its cosines to all other rows in the one space and in the other, and
//! `divergence_i` is their Jensen-Shannon divergence, `(KL(p | m) + KL(q | m)) / 2` with `m = (p + q) / 2`. A first
//! pass over the tiles finds the log-sum-exps ([`RowSums`](super::RowSums)), a second the divergences ([`Divergence`]),
//! a third turns the cosines of the second space into gradients ([`DivergenceGradient`]).

use rayon::prelude::*;

use super::exp::exp;
use super::{Gpu, Kernel, Shader, Tile, groups, slices};

const WGSL: &str = include_str!("divergence.wgsl");

fn shader(entry: &'static str, tile: Tile, factor: f32) -> Shader {
    let params = vec![tile.rows as u32, tile.columns as u32, tile.begin.into(), factor.to_bits()];
    Shader { source: WGSL, entry, params, workgroups: groups(tile.rows, 1), ..Shader::default() }
}

/// Leaves each row itself out of a tile on the diagonal, `cosines (count x count)`.
#[derive(Clone, Copy, Debug)]
pub struct WithoutOwn {
    pub count: usize,
}

/// A cosine whose exponential is 0 at any temperature.
const NEVER: f32 = -1e4;

impl Kernel for WithoutOwn {
    fn name(&self) -> &'static str {
        "without_own"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let params = vec![self.count as u32, self.count as u32, 0, NEVER.to_bits()];
        Shader { source: WGSL, entry: "without_own", params, workgroups: groups(self.count, 64), ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([], [cosines]) = slices(reads, writes);
        cosines.iter_mut().step_by(self.count + 1).for_each(|own| *own = NEVER);
    }
}

/// p, q, and `q ln (q / m)`.
fn term(first: f32, second: f32) -> (f32, f32, f32) {
    let (p, q) = (exp(first), exp(second));
    // Of a q of 0 there is nothing to gain, and m is above 0 with it.
    (p, q, if q > 0.0 { q * (2.0 * q / (p + q)).ln() } else { 0.0 })
}

/// Reads cosines of both spaces `(rows x columns each)`, `log_tau (1)`, and their log-sum-exps of rows `(rows each)`;
/// adds to `of_second (rows)`, the KL of q, and to `divergence (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct Divergence(pub Tile);

impl Kernel for Divergence {
    fn name(&self) -> &'static str {
        "divergence"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("divergence", self.0, 0.0)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([first, second, log_tau, first_sum, second_sum], [of_second, divergence]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.0, (-log_tau[0]).exp());
        let rows = of_second.par_iter_mut().zip(divergence).zip(first.par_chunks(columns)).enumerate();
        rows.with_min_len(4).for_each(|(at, ((of_second, divergence), first))| {
            let second = &second[at * columns..][..first.len()];
            let (mut p_sum, mut q_sum) = (0.0, 0.0);
            for (first, second) in first.iter().zip(second) {
                let (a, b) = (first * inverse - first_sum[at], second * inverse - second_sum[at]);
                p_sum += term(b, a).2;
                q_sum += term(a, b).2;
            }
            let before = |old: f32| if begin { 0.0 } else { old };
            *of_second = before(*of_second) + q_sum;
            *divergence = before(*divergence) + 0.5 * (p_sum + q_sum);
        });
    }
}

/// Reads cosines of the first space `(rows x columns)`, `log_tau (1)`, the log-sum-exps of rows in both `(rows each)`,
/// and the KL of q `(rows)`; turns the cosines of the second space, `tile (rows x columns)`, into their gradients.
#[derive(Clone, Copy, Debug)]
pub struct DivergenceGradient {
    pub tile: Tile,
    /// The factor of the divergences.
    pub factor: f32,
}

impl Kernel for DivergenceGradient {
    fn name(&self) -> &'static str {
        "divergence_gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("divergence_gradient", self.tile, self.factor)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([first, log_tau, first_sum, second_sum, of_second], [tile]) = slices(reads, writes);
        let (columns, inverse) = (self.tile.columns, (-log_tau[0]).exp());
        let share = 0.5 * self.factor * inverse;
        let rows = tile.par_chunks_mut(columns).zip(first.par_chunks(columns)).enumerate();
        rows.with_min_len(4).for_each(|(at, (tile, first))| {
            for (value, first) in tile.iter_mut().zip(first) {
                let (_, q, term) = term(first * inverse - first_sum[at], *value * inverse - second_sum[at]);
                *value = share * (term - q * of_second[at]);
            }
        });
    }
}
