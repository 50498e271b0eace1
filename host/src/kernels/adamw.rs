//! A step of AdamW (Loshchilov & Hutter, arXiv 1711.05101), as PyTorch takes it.

use rayon::prelude::*;

use super::{CHUNK, Kernel, buffers, groups};

/// Reads `gradient (count)`; changes `value`, `first` and `second (count each)`, the moments.
#[derive(Clone, Copy, Debug)]
pub struct AdamW {
    pub count: usize,
    pub lr: f32,
    /// Decay of the value, 0 for none.
    pub decay: f32,
    /// Steps that these values have taken, with this one.
    pub step: i32,
    /// The value stays from the one to the other.
    pub range: [f32; 2],
}

const BETAS: [f32; 2] = [0.9, 0.999];
const EPSILON: f32 = 1e-8;

impl AdamW {
    /// The step's length, the root of the second correction, and what is left of a value after its decay.
    fn factors(&self) -> [f32; 3] {
        let correction = |beta: f32| (1.0 - f64::from(beta).powi(self.step)) as f32;
        let [first, second] = BETAS.map(correction);
        [self.lr / first, second.sqrt(), 1.0 - self.lr * self.decay]
    }
}

impl Kernel for AdamW {
    fn wgsl(&self) -> &'static str {
        include_str!("adamw.wgsl")
    }

    fn entry(&self) -> &'static str {
        "adamw"
    }

    fn params(&self) -> Vec<u32> {
        let [length, root, kept] = self.factors();
        let words = [length, root, kept, BETAS[0], BETAS[1], EPSILON, self.range[0], self.range[1]];
        [self.count as u32].into_iter().chain(words.map(f32::to_bits)).collect()
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.count, 256)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([gradient], [value, first, second]) = buffers(reads, writes);
        let ([length, root, kept], [low, high]) = (self.factors(), self.range);
        let values = value[..self.count].par_chunks_mut(CHUNK).zip(gradient.par_chunks(CHUNK));
        let moments = first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK));
        values.zip(moments).for_each(|((value, gradient), (first, second))| {
            for (((value, g), m), v) in value.iter_mut().zip(gradient).zip(first).zip(second) {
                *m = BETAS[0] * *m + (1.0 - BETAS[0]) * g;
                *v = BETAS[1] * *v + (1.0 - BETAS[1]) * g * g;
                *value = (*value * kept - length * *m / (v.sqrt() / root + EPSILON)).clamp(low, high);
            }
        });
    }
}
