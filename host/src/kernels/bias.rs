//! Biases: a vector added to every row, and the sum over the rows, which is its gradient.

use rayon::prelude::*;

use super::{Kernel, buffers, groups};

/// `out += bias`, and `+= residual` where there is one. Reads `bias (width)` and the residual `(rows x width)`, or the bias
/// alone; changes `out (rows x width)`.
#[derive(Clone, Copy, Debug)]
pub struct AddBias {
    pub rows: usize,
    pub width: usize,
    /// Whether a residual is added too.
    pub residual: bool,
}

impl Kernel for AddBias {
    fn wgsl(&self) -> &'static str {
        include_str!("bias.wgsl")
    }

    fn entry(&self) -> &'static str {
        if self.residual { "add_bias_and_residual" } else { "add_bias" }
    }

    fn params(&self) -> Vec<u32> {
        vec![self.rows as u32, self.width as u32]
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.rows * self.width, 256)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let bias = reads[0];
        let rows = writes[0][..self.rows * self.width].par_chunks_mut(self.width);
        if !self.residual {
            return rows.for_each(|row| row.iter_mut().zip(bias).for_each(|(out, bias)| *out += bias));
        }
        rows.zip(reads[1].par_chunks(self.width)).for_each(|(row, residual)| {
            for ((out, bias), residual) in row.iter_mut().zip(bias).zip(residual) {
                *out += bias + residual;
            }
        });
    }
}

/// Reads `x (rows x width)`; writes the sum of its rows, `out (width)`.
#[derive(Clone, Copy, Debug)]
pub struct ColumnSum {
    pub rows: usize,
    pub width: usize,
}

/// Columns that a thread of the CPU sums.
const COLUMNS: usize = 64;

impl Kernel for ColumnSum {
    fn wgsl(&self) -> &'static str {
        include_str!("bias.wgsl")
    }

    fn entry(&self) -> &'static str {
        "column_sum"
    }

    fn params(&self) -> Vec<u32> {
        vec![self.rows as u32, self.width as u32]
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.width, 64)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x], [out]) = buffers(reads, writes);
        out[..self.width].par_chunks_mut(COLUMNS).enumerate().for_each(|(chunk, out)| {
            out.fill(0.0);
            for row in x[..self.rows * self.width].chunks_exact(self.width) {
                out.iter_mut().zip(&row[chunk * COLUMNS..]).for_each(|(out, x)| *out += x);
            }
        });
    }
}
