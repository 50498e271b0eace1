//! A step of AdamW (Loshchilov & Hutter, arXiv 1711.05101), as PyTorch takes it.

use rayon::prelude::*;

use super::{CHUNK, Gpu, Kernel, Shader, groups, slices};

/// Reads `gradient (count)` and `factor (1)`, what the gradient is multiplied with; changes `value`, `first` and
/// `second (count each)`, the moments.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub count: usize,
    pub lr: f32,
    pub betas: [f32; 2],
    pub epsilon: f32,
    /// Decay of the value, 0 for none.
    pub decay: f32,
    /// Steps that these values have taken, with this one.
    pub step: i32,
    /// The value stays from the one to the other.
    pub range: [f32; 2],
}

impl AdamW {
    /// The step's length, the root of the second correction, and what is left of a value after its decay.
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
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([gradient, factor], [value, first, second]) = slices(reads, writes);
        let ([length, root, kept], [low, high]) = (self.factors(), self.range);
        let (Self { betas: [beta, beta_2], epsilon, .. }, factor) = (*self, factor[0]);
        let values = value[..self.count].par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        values.zip(moments).for_each(|((value, gradient), (first, second))| {
            pulp::Arch::new().dispatch(
                #[inline(always)]
                || {
                    for (((value, g), m), v) in value.iter_mut().zip(gradient).zip(&mut *first).zip(&mut *second) {
                        let g = g * factor;
                        *m = beta * *m + (1.0 - beta) * g;
                        *v = beta_2 * *v + (1.0 - beta_2) * g * g;
                        *value = (*value * kept - length * *m / (v.sqrt() / root + epsilon)).clamp(low, high);
                    }
                },
            );
        });
    }
}
