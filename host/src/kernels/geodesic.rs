//! Pairs mixed along the arc between their embeddings, as hard negatives of an InfoNCE: m2-Mix (Oh et al., NeurIPS
//! 2023).
//!
//! Of unit rows x and y with angle t, `m = sin(w t) / sin t x + sin((1 - w) t) / sin t y`. An anchor a, x or y,
//! has its own pair's cosine among those with all other rows' m; `loss_i = log sum_j exp s_ij - s_ii`.

use rayon::prelude::*;
use std::f32::consts::{FRAC_PI_2, PI};

use super::exp::exp;
use super::{Gpu, Kernel, Shader, Tile, groups, slices};

const WGSL: &str = include_str!("geodesic.wgsl");

/// The largest cosine whose angle counts: nearer ones have hardly an arc between them.
const MOST: f32 = 0.999;

fn shader(entry: &'static str, (rows, columns): (usize, usize), workgroups: [u32; 3]) -> Shader {
    Shader {
        source: WGSL,
        entry,
        params: vec![rows as u32, columns as u32, 0, 0, 0, 0],
        workgroups,
        ..Shader::default()
    }
}

/// The angle of a cosine, as the shader has it.
fn angle(cosine: f32) -> f32 {
    /// Abramowitz and Stegun, 4.4.46.
    #[allow(clippy::excessive_precision, clippy::approx_constant, reason = "they are as published")]
    const FACTORS: [f32; 8] = [
        -0.001_262_491_1,
        0.006_670_090_1,
        -0.017_088_125_6,
        0.030_891_881,
        -0.050_174_304_6,
        0.088_978_987_4,
        -0.214_598_801_6,
        1.570_796_305,
    ];
    let c = cosine.abs();
    let acute = (1.0 - c).sqrt() * FACTORS.into_iter().fold(0.0, |sum, factor| sum * c + factor);
    if cosine >= 0.0 { acute } else { PI - acute }
}

/// The sine of an angle between -pi/2 and pi/2, as the shader has it.
fn sine(u: f32) -> f32 {
    /// Of 1 / 11!, 1 / 9!, and so on.
    #[allow(clippy::excessive_precision, reason = "they are as in the shader")]
    const FACTORS: [f32; 5] = [-2.505_210_8e-8, 2.755_731_9e-6, -1.984_127e-4, 8.333_333_3e-3, -1.666_666_7e-1];
    let s = u * u;
    u + u * s * FACTORS.into_iter().fold(0.0, |sum, factor| sum * s + factor)
}

/// The factor of a side whose weight is `w`, and its derivative by the angle `t`.
fn factor(w: f32, t: f32) -> (f32, f32) {
    let (whole, part) = (sine(t.min(PI - t)), sine((w * t).min(PI - w * t)));
    let slopes = w * sine(FRAC_PI_2 - w * t) * whole - part * sine(FRAC_PI_2 - t);
    (part / whole, slopes / (whole * whole))
}

/// Reads rows of length 1, `first` and `second (rows x width each)`, and `weights (rows)` of the first; writes `mixed
/// (rows x width)` and the pairs' `cosines (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct Geodesic {
    pub rows: usize,
    pub width: usize,
}

impl Kernel for Geodesic {
    fn name(&self) -> &'static str {
        "geodesic"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("geodesic", (self.rows, self.width), groups(self.rows, 1))
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([first, second, weights], [mixed, cosines]) = slices(reads, writes);
        let width = self.width;
        let rows = mixed.par_chunks_mut(width).zip(cosines).zip(first.par_chunks(width).zip(second.par_chunks(width)));
        rows.zip(weights).with_min_len(4).for_each(|(((mixed, cosine), (x, y)), w)| {
            *cosine = x.iter().zip(y).map(|(x, y)| x * y).sum();
            let t = angle(cosine.clamp(-MOST, MOST));
            let (a, b) = (factor(*w, t).0, factor(1.0 - w, t).0);
            mixed.iter_mut().zip(x.iter().zip(y)).for_each(|(m, (x, y))| *m = a * x + b * y);
        });
    }
}

/// Puts the pairs' cosines into the places of their own: reads `own (count)`; changes a tile on the diagonal, `cosines
/// (count x count)`.
#[derive(Clone, Copy, Debug)]
pub struct SetOwn {
    pub count: usize,
}

impl Kernel for SetOwn {
    fn name(&self) -> &'static str {
        "set_own"
    }

    fn bytes(&self, _: u64) -> u64 {
        8 * self.count as u64
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("set_own", (self.count, self.count), groups(self.count, 64))
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([own], [cosines]) = slices(reads, writes);
        cosines.iter_mut().step_by(self.count + 1).zip(own).for_each(|(cosine, own)| *cosine = *own);
    }
}

/// Reads `log_tau (1)` and the log-sum-exps `row (rows)`; turns `tile (rows x columns)` from cosines into their
/// gradients, with 0 in the places of the pairs themselves, and adds each row's gradient to log tau to `slope (rows)`.
/// Of a tile on the diagonal, it writes the gradients to the pairs' own cosines to `to_own (rows)`, and the losses of
/// the rows to `loss (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct NegativesGradient {
    pub tile: Tile,
    /// The factor of the losses.
    pub factor: f32,
    /// True if the pairs themselves are on the tile's diagonal.
    pub diagonal: bool,
    /// True if gradients to own cosines, and losses, are added to those of another anchor.
    pub add: bool,
}

impl Kernel for NegativesGradient {
    fn name(&self) -> &'static str {
        "negatives_gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Tile { rows, columns, begin } = self.tile;
        let mut shader = shader("negatives_gradient", (rows, columns), groups(rows, 1));
        shader.params[2..].copy_from_slice(&[
            begin.into(),
            self.factor.to_bits(),
            self.diagonal.into(),
            self.add.into(),
        ]);
        shader
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([log_tau, row], [tile, slope, to_own, loss]) = slices(reads, writes);
        let (Tile { columns, begin, .. }, inverse) = (self.tile, (-log_tau[0]).exp());
        let share = self.factor * inverse;
        let rows = tile.par_chunks_mut(columns).zip(slope).zip(to_own.par_iter_mut().zip(loss)).zip(row).enumerate();
        rows.with_min_len(4).for_each(|(at, (((tile, slope), (to_own, loss)), row))| {
            let mut sum = 0.0;
            for (column, value) in tile.iter_mut().enumerate() {
                let c = *value;
                *value = share * exp(c * inverse - row);
                if self.diagonal && column == at {
                    let before = |old: f32| if self.add { old } else { 0.0 };
                    *to_own = before(*to_own) + *value - share;
                    *loss = before(*loss) + row - c * inverse;
                    sum -= (*value - share) * c;
                    *value = 0.0;
                } else {
                    sum -= *value * c;
                }
            }
            *slope = sum + if begin { 0.0 } else { *slope };
        });
    }
}

/// Reads what [`Geodesic`] reads, the pairs' `cosines (rows)`, and the gradients to the mixed rows `(rows x width)` and
/// to the cosines `(rows)`; adds to those of both sides `(rows x width each)`.
#[derive(Clone, Copy, Debug)]
pub struct GeodesicGradient(pub Geodesic);

impl Kernel for GeodesicGradient {
    fn name(&self) -> &'static str {
        "geodesic_gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("geodesic_gradient", (self.0.rows, self.0.width), groups(self.0.rows, 1))
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([first, second, weights, cosines, to_mixed, to_own], [to_first, to_second]) = slices(reads, writes);
        let width = self.0.width;
        let rows = to_first.par_chunks_mut(width).zip(to_second.par_chunks_mut(width)).enumerate();
        rows.with_min_len(4).for_each(|(at, (to_first, to_second))| {
            let of = |values: &'_ [f32]| at * width..((at + 1) * width).min(values.len());
            let (x, y, to_mixed) = (&first[of(first)], &second[of(second)], &to_mixed[of(to_mixed)]);
            let share = |side: &[f32]| side.iter().zip(to_mixed).map(|(value, to)| value * to).sum::<f32>();
            let t = angle(cosines[at].clamp(-MOST, MOST));
            let ((a, to_a), (b, to_b)) = (factor(weights[at], t), factor(1.0 - weights[at], t));
            let by_angle = -(to_a * share(x) + to_b * share(y)) / sine(t.min(PI - t));
            // Beyond the bound, the angle stays.
            let by_cosine = to_own[at] + if cosines[at].abs() < MOST { by_angle } else { 0.0 };
            for (((to_x, to_y), to), (x, y)) in to_first.iter_mut().zip(to_second).zip(to_mixed).zip(x.iter().zip(y)) {
                *to_x += a * to + by_cosine * y;
                *to_y += b * to + by_cosine * x;
            }
        });
    }
}
