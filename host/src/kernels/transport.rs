//! Entropic optimal transport between n and m rows with uniform masses, over their n x m cosines K, and KLOT, the
//! divergence of two plans (SOTAlign, arXiv 2602.23353).
//!
//! The plan at temperature e is `exp(K / e + u_i + v_j)`, with potentials u and v that Sinkhorn's steps find
//! ([`Potentials`]). `KLOT = sum_ij P*_ij ln (P*_ij / P_ij)` of a teacher's plan P* and the own plan P has the gradient
//! `(P - P*) / e` to K ([`PlanGradient`], its theorem 5.1).

use pulp::Simd;
use rayon::prelude::*;

use super::exp::exp;
use super::{Gpu, Kernel, Shader, arch, groups, larger, slices};

const WGSL: &str = include_str!("transport.wgsl");

/// A potential of rows, or of columns: reads `cosines (rows x columns)`, and the other potential; writes
/// `own = -ln(count) - ln sum exp(K / e + other)`, or the mean of that and what it is.
#[derive(Clone, Copy, Debug)]
pub struct Potentials {
    pub rows: usize,
    pub columns: usize,
    /// True for the columns' potential.
    pub of_columns: bool,
    /// True for the mean with the one that there is.
    pub halfway: bool,
    /// The temperature e.
    pub epsilon: f32,
}

impl Kernel for Potentials {
    fn name(&self) -> &'static str {
        if self.of_columns { "column_potentials" } else { "row_potentials" }
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Self { rows, columns, of_columns, halfway, epsilon } = *self;
        let params = vec![rows as u32, columns as u32, halfway.into(), epsilon.to_bits()];
        let workgroups = if of_columns { groups(columns, 64) } else { groups(rows, 1) };
        Shader { source: WGSL, entry: self.name(), params, workgroups, ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([cosines, other], [own]) = slices(reads, writes);
        let Self { rows, columns, of_columns, halfway, epsilon } = *self;
        let (inverse, count) = (1.0 / epsilon, if of_columns { columns } else { rows });
        let set = |own: &mut f32, most: f32, sum: f32| {
            let new = -(count as f32).ln() - most - sum.ln();
            *own = if halfway { 0.5 * (*own + new) } else { new };
        };
        if !of_columns {
            let all = own.par_iter_mut().zip(cosines.par_chunks(columns)).with_min_len(4);
            return all.for_each(|(own, cosines)| {
                let (most, sum) = row_sum(cosines, other, inverse);
                set(own, most, sum);
            });
        }
        own.par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, own)| {
            let (mut most, mut sum) = ([f32::NEG_INFINITY; COLUMNS], [0.0; COLUMNS]);
            let count = own.len();
            column_sums(&mut most[..count], &mut sum[..count], &cosines[chunk * COLUMNS..], columns, other, inverse);
            own.iter_mut().zip(most).zip(sum).for_each(|((own, most), sum)| set(own, most, sum));
        });
    }
}

/// Columns that a thread of the CPU sums.
const COLUMNS: usize = 64;

/// The largest of a row's logits, and the sum of the exponentials of the distances to it.
#[pulp::with_simd(row_sum = arch())]
#[inline(always)]
fn row_sum_with<'a, S: Simd>(_: S, cosines: &'a [f32], other: &'a [f32], inverse: f32) -> (f32, f32) {
    let (mut most, mut sum) = ([f32::NEG_INFINITY; 16], [0.0; 16]);
    for (cosines, other) in cosines.chunks(16).zip(other.chunks(16)) {
        for ((most, cosine), other) in most.iter_mut().zip(cosines).zip(other) {
            *most = most.max(cosine * inverse + other);
        }
    }
    let most = most.into_iter().fold(f32::NEG_INFINITY, larger);
    for (cosines, other) in cosines.chunks(16).zip(other.chunks(16)) {
        for ((sum, cosine), other) in sum.iter_mut().zip(cosines).zip(other) {
            *sum += exp(cosine * inverse + other - most);
        }
    }
    (most, sum.into_iter().sum())
}

/// The same of as many columns as `most` and `sum` have, whose rows are `stride` apart.
#[pulp::with_simd(column_sums = arch())]
#[inline(always)]
fn column_sums_with<'a, S: Simd>(
    _: S,
    most: &'a mut [f32],
    sum: &'a mut [f32],
    cosines: &'a [f32],
    stride: usize,
    other: &'a [f32],
    inverse: f32,
) {
    for (row, other) in cosines.chunks(stride).zip(other) {
        most.iter_mut().zip(row).for_each(|(most, cosine)| *most = most.max(cosine * inverse + other));
    }
    for (row, other) in cosines.chunks(stride).zip(other) {
        for ((sum, most), cosine) in sum.iter_mut().zip(&*most).zip(row) {
            *sum += exp(cosine * inverse + other - most);
        }
    }
}

/// Reads the teacher's cosines `(rows x columns)` and potentials `(rows)`, `(columns)`, and the own potentials; turns
/// the own cosines, `tile (rows x columns)`, into the gradients of `factor` times KLOT, and writes each row's KLOT to
/// `losses (rows)`.
#[derive(Clone, Copy, Debug)]
pub struct PlanGradient {
    pub rows: usize,
    pub columns: usize,
    /// The own temperature, and the teacher's.
    pub epsilons: [f32; 2],
    pub factor: f32,
}

impl Kernel for PlanGradient {
    fn name(&self) -> &'static str {
        "plan_gradient"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let [own, teacher] = self.epsilons.map(f32::to_bits);
        let params = vec![self.rows as u32, self.columns as u32, 0, own, self.factor.to_bits(), teacher];
        Shader { source: WGSL, entry: "plan_gradient", params, workgroups: groups(self.rows, 1), ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([teacher, teacher_u, teacher_v, u, v], [tile, losses]) = slices(reads, writes);
        let columns = self.columns;
        let [own, of_teacher] = self.epsilons.map(|epsilon| 1.0 / epsilon);
        let share = self.factor * own;
        let rows = tile.par_chunks_mut(columns).zip(losses).zip(teacher.par_chunks(columns)).enumerate();
        rows.with_min_len(4).for_each(|(at, ((tile, loss), teacher))| {
            *loss = 0.0;
            for (j, (value, teacher)) in tile.iter_mut().zip(teacher).enumerate() {
                let log = *value * own + u[at] + v[j];
                let log_teacher = teacher * of_teacher + teacher_u[at] + teacher_v[j];
                let plan = exp(log_teacher);
                *loss += plan * (log_teacher - log);
                *value = share * (exp(log) - plan);
            }
        });
    }
}
