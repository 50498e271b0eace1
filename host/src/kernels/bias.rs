//! Biases: a vector added to every row, and the sum over the rows, which is its gradient.

use rayon::prelude::*;

use super::{Format, Gpu, Kernel, Shader, columns, groups, slices};

const WGSL: &str = concat!(include_str!("bias.wgsl"), include_str!("half.wgsl"));

/// `out += bias`. Reads `bias (width)`; changes `out (rows x width)`.
#[derive(Clone, Copy, Debug)]
pub struct AddBias {
    pub rows: usize,
    pub width: usize,
}

impl Kernel for AddBias {
    fn name(&self) -> &'static str {
        "add_bias"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "add_bias",
            params: vec![self.rows as u32, self.width as u32, 0],
            workgroups: groups(self.rows * self.width, 256),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([bias], [out]) = slices(reads, writes);
        let rows = out[..self.rows * self.width].par_chunks_mut(self.width);
        rows.with_min_len(8).for_each(|row| row.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias));
    }
}

/// Reads `x (rows x width)`; writes the sum of its rows, `out (width)`, or adds it.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSum {
    pub rows: usize,
    pub width: usize,
    /// True if the sum is added to the existing values.
    pub accumulate: bool,
    /// The format of `x`.
    pub format: Format,
}

impl Kernel for ColumnSum {
    fn name(&self) -> &'static str {
        "column_sum"
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "column_sum",
            constants: vec![("HALF", self.format.constant()), ("LANES", gpu.lanes().into())],
            params: vec![self.rows as u32, self.width as u32, self.accumulate.into()],
            workgroups: groups(self.width, 16),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x], [out]) = slices(reads, writes);
        let (x, size) = (&*self.format.read(x, self.rows, self.width), columns(self.width));
        out[..self.width].par_chunks_mut(size).enumerate().for_each(|(chunk, out)| {
            if !self.accumulate {
                out.fill(0.0);
            }
            for row in x.chunks_exact(self.width) {
                out.iter_mut().zip(&row[chunk * size..]).for_each(|(out, x)| *out += x);
            }
        });
    }
}
