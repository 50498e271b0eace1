//! FuseMix's mixing of latents (arXiv 2312.10144, section 4.2): `out = lambda z + (1 - lambda) z'`, gathered from the
//! latents' places in memory.

use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, groups, slices};

/// `lambda a + (1 - lambda) b`.
#[inline(always)]
pub fn mixed(lambda: f32, a: f32, b: f32) -> f32 {
    lambda * a + (1.0 - lambda) * b
}

/// Gathers and mixes rows of latents in the device's memory, which may be in several chunks: one launch per chunk.
/// Reads `latents (count x width)`, rows `first ..` of all; `pairs (2 rows)`, the bits of u32: the rows of z, then
/// those of z'; `lambdas (rows)`. Writes `out (rows x width)`, or adds a later chunk's share to it.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    pub rows: usize,
    pub width: usize,
    pub first: usize,
    pub count: usize,
}

impl Kernel for Mix {
    fn name(&self) -> &'static str {
        "mix"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: include_str!("mix.wgsl"),
            entry: "mix_rows",
            params: [self.rows, self.width, self.first, self.count].map(|p| p as u32).into(),
            workgroups: groups(self.rows * self.width, 256),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([latents, pairs, lambdas], [out]) = slices(reads, writes);
        let (first, second) = pairs.split_at(self.rows);
        let chunk = self.first..self.first + self.count;
        let row = |index: f32| {
            let index = index.to_bits() as usize;
            chunk.contains(&index).then(|| &latents[(index - self.first) * self.width..][..self.width])
        };
        let rows = out.par_chunks_mut(self.width).zip(first).zip(second).zip(lambdas);
        rows.with_min_len(16).for_each(|(((out, &i), &j), &lambda)| {
            if self.first == 0 {
                out.fill(0.0);
            }
            match (row(i), row(j)) {
                (Some(a), Some(b)) => {
                    out.iter_mut().zip(a).zip(b).for_each(|((out, a), b)| *out += mixed(lambda, *a, *b));
                }
                (a, b) => {
                    a.into_iter().for_each(|a| out.iter_mut().zip(a).for_each(|(out, a)| *out += lambda * a));
                    b.into_iter().for_each(|b| out.iter_mut().zip(b).for_each(|(out, b)| *out += (1.0 - lambda) * b));
                }
            }
        });
    }
}
