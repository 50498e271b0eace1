//! Rows brought to length 1: forward and backward.

use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, fold, groups, slices};

/// The minimum length that a row is divided by.
const SHORTEST: f32 = 1e-12;

/// `out = x / |x|`. Reads `x (rows x width)`; writes `out (rows x width)` and `inverse (rows)`: 1 / |x|.
#[derive(Clone, Copy, Debug)]
pub struct Normalize {
    pub rows: usize,
    pub width: usize,
}

impl Kernel for Normalize {
    fn name(&self) -> &'static str {
        "l2_normalize"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: include_str!("normalize.wgsl"),
            entry: "l2_normalize",
            params: vec![self.rows as u32, self.width as u32, SHORTEST.to_bits()],
            workgroups: groups(self.rows, 1),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x], [out, inverse]) = slices(reads, writes);
        let rows = out[..self.rows * self.width].par_chunks_mut(self.width).zip(x.par_chunks(self.width));
        rows.zip(inverse).with_min_len(8).for_each(|((out, x), inverse)| {
            *inverse = 1.0 / fold(x, 0.0, |sum, x| sum + x * x, |a, b| a + b).sqrt().max(SHORTEST);
            out.iter_mut().zip(x).for_each(|(out, x)| *out = x * *inverse);
        });
    }
}

/// The gradient to `x`. Reads `y (rows x width)`, the normalised rows, `inverse (rows)` and `scale (1)`; changes
/// `gradient (rows x width)` from that to the output into that to the input, times the scale.
#[derive(Clone, Copy, Debug)]
pub struct NormalizeBackward {
    pub rows: usize,
    pub width: usize,
}

impl Kernel for NormalizeBackward {
    fn name(&self) -> &'static str {
        "l2_normalize_backward"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: include_str!("normalize.wgsl"),
            entry: "l2_normalize_backward",
            params: vec![self.rows as u32, self.width as u32, SHORTEST.to_bits()],
            workgroups: groups(self.rows, 1),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([y, inverse, scale], [gradient]) = slices(reads, writes);
        let rows = gradient[..self.rows * self.width].par_chunks_mut(self.width).zip(y.par_chunks(self.width));
        rows.zip(inverse).with_min_len(8).for_each(|((gradient, y), inverse)| {
            let along: f32 = gradient.iter().zip(y).map(|(g, y)| g * y).sum();
            let factor = inverse * scale[0];
            gradient.iter_mut().zip(y).for_each(|(g, y)| *g = (*g - along * y) * factor);
        });
    }
}
