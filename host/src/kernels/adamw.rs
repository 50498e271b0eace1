//! A step of AdamW (Loshchilov & Hutter, arXiv 1711.05101), as PyTorch takes it.

use pulp::Simd;
use rayon::prelude::*;

use super::{CHUNK, Gpu, Kernel, Shader, arch, groups, slices};

/// Reads `gradient (count)` and `factor (1)`, by which the gradient is multiplied; changes `value`, `first` and
/// `second (count each)`, the moments.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub count: usize,
    pub lr: f32,
    pub betas: [f32; 2],
    pub epsilon: f32,
    /// Decay of the value, 0 for none.
    pub decay: f32,
    /// Steps that these values have taken, including this one.
    pub step: i32,
    /// The minimum and maximum of the value.
    pub range: [f32; 2],
}

impl AdamW {
    /// The step's length, the root of the second correction, and the factor of a value by its decay.
    fn factors(&self) -> [f32; 3] {
        let correction = |beta: f32| (1.0 - f64::from(beta).powi(self.step)) as f32;
        let [first, second] = self.betas.map(correction);
        [self.lr / first, second.sqrt(), 1.0 - self.lr * self.decay]
    }
}

impl Kernel for AdamW {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let [length, root, kept] = self.factors();
        let ([beta, beta_2], [low, high]) = (self.betas, self.range);
        let words = [length, root, kept, beta, beta_2, self.epsilon, low, high];
        Shader {
            source: include_str!("adamw.wgsl"),
            entry: "adamw",
            params: [self.count as u32].into_iter().chain(words.map(f32::to_bits)).collect(),
            workgroups: groups(self.count, 256),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([gradient, factor], [value, first, second]) = slices(reads, writes);
        let (kernel, factors, factor) = (*self, self.factors(), factor[0]);
        if factor < 0.0 {
            return;
        }
        let values = value[..self.count].par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        values.zip(moments).for_each(|((value, gradient), moments)| {
            update(value, gradient, moments.0, moments.1, kernel, factors, factor);
        });
    }
}

/// A chunk of the step.
#[pulp::with_simd(update = arch())]
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "what `with_simd` takes is a plain list")]
fn update_with<'a, S: Simd>(
    _: S,
    value: &'a mut [f32],
    gradient: &'a [f32],
    first: &'a mut [f32],
    second: &'a mut [f32],
    AdamW { betas: [beta, beta_2], epsilon, range: [low, high], .. }: AdamW,
    [length, root, kept]: [f32; 3],
    factor: f32,
) {
    let count = value.len();
    let (gradient, first, second) = (&gradient[..count], &mut first[..count], &mut second[..count]);
    for at in 0..count {
        let g = gradient[at] * factor;
        let m = beta * first[at] + (1.0 - beta) * g;
        let v = beta_2 * second[at] + (1.0 - beta_2) * g * g;
        (first[at], second[at]) = (m, v);
        value[at] = (value[at] * kept - length * m / (v.sqrt() / root + epsilon)).clamp(low, high);
    }
}
