//! Clipping gradients by the length of all of them together.

use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, slices};

const WGSL: &str = concat!(include_str!("clip.wgsl"), include_str!("total.wgsl"));

/// Reads `gradient (count)`; writes `parts (PARTS)`, sums of squares of as many parts of it.
#[derive(Clone, Copy, Debug)]
pub struct SquareSums {
    pub count: usize,
}

impl SquareSums {
    /// Sums that it writes.
    pub const PARTS: usize = 512;
}

impl Kernel for SquareSums {
    fn name(&self) -> &'static str {
        "square_sums"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let count = self.count as u32;
        let workgroups = [Self::PARTS as u32, 1, 1];
        Shader { source: WGSL, entry: "square_sums", params: vec![count, 0], workgroups, ..Shader::default() }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([gradient], [parts]) = slices(reads, writes);
        let part = self.count.div_ceil(Self::PARTS);
        parts.par_iter_mut().enumerate().for_each(|(at, sum)| {
            let values = gradient.get(at * part..self.count.min((at + 1) * part)).unwrap_or_default();
            *sum = super::fold(values, 0.0, |sum, g| sum + g * g, |a, b| a + b);
        });
    }
}

/// Reads `parts (count)`; writes `factor (1)`, which scales the gradients to a length of at most `longest`.
#[derive(Clone, Copy, Debug)]
pub struct ClipFactor {
    pub count: usize,
    pub longest: f32,
}

impl Kernel for ClipFactor {
    fn name(&self) -> &'static str {
        "clip_factor"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "clip_factor",
            params: vec![self.count as u32, self.longest.to_bits()],
            workgroups: [1, 1, 1],
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([parts], [factor]) = slices(reads, writes);
        let length = parts[..self.count].iter().sum::<f32>().sqrt();
        factor[0] = (self.longest / (length + 1e-6)).min(1.0);
    }
}
