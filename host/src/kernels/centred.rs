//! Rows less their mean: of a matrix, and of a gradient that comes back through it.

use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, groups, slices};

/// `out = x - sums / rows`, or `out +=` that. Reads `x (rows x width)`, and `sums (width)` of its rows; writes or
/// changes `out (rows x width)`.
#[derive(Clone, Copy, Debug)]
pub struct Centred {
    pub rows: usize,
    pub width: usize,
    /// True if the rows are added to the existing values.
    pub accumulate: bool,
}

impl Kernel for Centred {
    fn name(&self) -> &'static str {
        "centred"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: include_str!("centred.wgsl"),
            entry: "centred",
            params: vec![self.rows as u32, self.width as u32, self.accumulate.into()],
            workgroups: groups(self.rows * self.width, 256),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, sums], [out]) = slices(reads, writes);
        let Self { rows, width, accumulate } = *self;
        let rows = (out[..rows * width].par_chunks_mut(width).zip(x.par_chunks(width)), rows as f32);
        rows.0.with_min_len(8).for_each(|(out, x)| {
            for ((out, x), sum) in out.iter_mut().zip(x).zip(sums) {
                let before = if accumulate { *out } else { 0.0 };
                *out = before + (x - sum / rows.1);
            }
        });
    }
}
