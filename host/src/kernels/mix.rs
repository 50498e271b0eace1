//! FuseMix's mixing of latents (arXiv 2312.10144, section 4.2): `out = lambda z + (1 - lambda) z'`.

use rayon::prelude::*;

use super::{CHUNK, Kernel, buffers, groups};

/// Mixes the first half of the latents with the second. Reads `latents (2 count)`; writes `out (count)`.
#[derive(Clone, Copy, Debug)]
pub struct Mix {
    /// Values of a half.
    pub count: usize,
    /// The weight of the first half: for all modalities of a step the same.
    pub lambda: f32,
}

impl Kernel for Mix {
    fn wgsl(&self) -> &'static str {
        include_str!("mix.wgsl")
    }

    fn entry(&self) -> &'static str {
        "mix_halves"
    }

    fn params(&self) -> Vec<u32> {
        vec![self.count as u32, self.lambda.to_bits()]
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.count, 256)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([latents], [out]) = buffers(reads, writes);
        let (first, second) = latents[..2 * self.count].split_at(self.count);
        let parts = out[..self.count].par_chunks_mut(CHUNK);
        parts.zip(first.par_chunks(CHUNK)).zip(second.par_chunks(CHUNK)).for_each(|((out, first), second)| {
            for ((out, a), b) in out.iter_mut().zip(first).zip(second) {
                *out = self.lambda * a + (1.0 - self.lambda) * b;
            }
        });
    }
}
