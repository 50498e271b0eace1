//! The pairwise sigmoid loss over B pairs, in tiles of the B x B cosines (Zhai et al., "Sigmoid Loss for Language Image
//! Pre-Training", ICCV 2023; its mean over B^2 as in SAIL, arXiv 2412.04616).
//!
//! With logits s = cos / tau + bias, and targets t = 1 for a pair and 0 for all else, the loss is the mean over all ij
//! of
//! `log(1 + exp(s_ij)) - t_ij s_ij`. One pass over the tiles turns cosines into gradients ([`SigmoidGradient`], or for
//! other targets [`SigmoidTargetGradient`]); [`SigmoidReduce`] ends it.

use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, Tile, groups, slices};

const WGSL: &str = include_str!("sigmoid.wgsl");

/// Reads `log_tau (1)`; turns `tile (rows x columns)` from cosines into their gradients, and adds each row's gradient
/// to log tau to `slope (rows)`, and its part of the loss to `loss (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct SigmoidGradient {
    pub tile: Tile,
    /// B.
    pub pairs: usize,
    /// True if the pairs themselves are on the tile's diagonal.
    pub diagonal: bool,
    pub bias: f32,
}

impl Kernel for SigmoidGradient {
    fn name(&self) -> &'static str {
        "sigmoid_gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Tile { rows, columns, begin } = self.tile;
        let counts = [rows as u32, columns as u32, begin.into(), self.pairs as u32, self.diagonal.into()];
        let params = counts.into_iter().chain([self.bias.to_bits()]).collect();
        Shader { source: WGSL, entry: "sigmoid_gradient", params, workgroups: groups(rows, 1), ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau], [tile, slope, loss]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.tile, (-log_tau[0]).exp());
        let share = 1.0 / (self.pairs as f32 * self.pairs as f32);
        let rows = tile.par_chunks_mut(columns).zip(slope).zip(loss).enumerate();
        rows.with_min_len(4).for_each(|(at, ((tile, slope), loss))| {
            let (mut to_slope, mut of_loss) = (0.0, 0.0);
            for (j, value) in tile.iter_mut().enumerate() {
                let (c, z) = (*value, if self.diagonal && j == at { 1.0 } else { -1.0 });
                let v = -z * (c * inverse + self.bias);
                let (softplus, sigmoid) = softplus(v);
                of_loss += softplus;
                *value = -z * sigmoid * share * inverse;
                to_slope -= *value * c;
            }
            let before = |old: f32| if begin { 0.0 } else { old };
            *slope = before(*slope) + to_slope;
            *loss = before(*loss) + share * of_loss;
        });
    }
}

/// [`SigmoidGradient`] to other targets than each pair's own, from 0 to 1: reads `log_tau (1)`, and `targets (rows x
/// columns)`.
#[derive(Clone, Copy, Debug)]
pub struct SigmoidTargetGradient(pub SigmoidGradient);

impl Kernel for SigmoidTargetGradient {
    fn name(&self) -> &'static str {
        "sigmoid_target_gradient"
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        Shader { entry: "sigmoid_target_gradient", ..self.0.shader(gpu) }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, targets], [tile, slope, loss]) = slices(reads, writes);
        let SigmoidGradient { tile: Tile { columns, begin, .. }, pairs, bias, .. } = self.0;
        let (inverse, share) = ((-log_tau[0]).exp(), 1.0 / (pairs as f32 * pairs as f32));
        let rows = tile.par_chunks_mut(columns).zip(slope).zip(loss).zip(targets.par_chunks(columns));
        rows.with_min_len(4).for_each(|(((tile, slope), loss), targets)| {
            let (mut to_slope, mut of_loss) = (0.0, 0.0);
            for (value, target) in tile.iter_mut().zip(targets) {
                let (c, s) = (*value, *value * inverse + bias);
                let (softplus, sigmoid) = softplus(s);
                of_loss += softplus - target * s;
                *value = (sigmoid - target) * share * inverse;
                to_slope -= *value * c;
            }
            let before = |old: f32| if begin { 0.0 } else { old };
            *slope = before(*slope) + to_slope;
            *loss = before(*loss) + share * of_loss;
        });
    }
}

/// log(1 + exp(v)), and its derivative.
fn softplus(v: f32) -> (f32, f32) {
    let e = (-v.abs()).exp();
    (v.max(0.0) + e.ln_1p(), if v > 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) })
}

/// Reads `loss`, `slope (pairs each)`; writes the loss to `losses[step]`, and the gradient to log tau to `to_log_tau
/// (1)`.
#[derive(Clone, Copy, Debug)]
pub struct SigmoidReduce {
    pub pairs: usize,
    pub step: usize,
}

impl Kernel for SigmoidReduce {
    fn name(&self) -> &'static str {
        "sigmoid_reduce"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let params = vec![self.pairs as u32, self.step as u32, 0, 0, 0, 0];
        Shader { source: WGSL, entry: "sigmoid_reduce", params, workgroups: [1, 1, 1], ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([loss, slope], [losses, to_log_tau]) = slices(reads, writes);
        let sum = |values: &[f32]| values[..self.pairs].iter().map(|&value| f64::from(value)).sum::<f64>() as f32;
        losses[self.step] = sum(loss);
        to_log_tau[0] = sum(slope);
    }
}
