//! LayerNorm over rows: forward and backward. The epsilon is PyTorch's.

use rayon::prelude::*;

use super::{Format, Gpu, Halve, Kernel, Shader, columns, fold, groups, slices};

const WGSL: &str = concat!(include_str!("layer_norm.wgsl"), include_str!("half.wgsl"));

/// `out = (x - mean) / deviation * gain + shift`. Reads `x (rows x width)`, `gain (width)`, `shift (width)`; writes
/// `out (rows x width)` and `moments (rows x 2)`: the mean and 1 / deviation.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    pub rows: usize,
    pub width: usize,
    /// The format of `out`.
    pub format: Format,
}

const EPSILON: f32 = 1e-5;

impl Kernel for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "layer_norm",
            constants: vec![("HALF", self.format.constant())],
            params: vec![self.rows as u32, self.width as u32, EPSILON.to_bits(), 0],
            workgroups: groups(self.rows, 1),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, gain, shift], [out, moments]) = slices(reads, writes);
        let Self { rows, width, format } = *self;
        format.change(out, [rows, width], |out| {
            let rows = out.par_chunks_mut(width).zip(x.par_chunks(width)).zip(moments.par_chunks_mut(2));
            rows.with_min_len(8).for_each(|((out, x), moments)| norm(x, (gain, shift), out, moments));
        });
    }
}

/// `sum += bias + residual`, and the [`LayerNorm`] of that. Reads `bias (width)`, `residual (rows x width)`, `gain
/// (width)`, `shift (width)`; changes `sum (rows x width)`, and writes `out (rows x width)` and `moments (rows x 2)`.
#[derive(Clone, Copy, Debug)]
pub struct AddNorm {
    pub rows: usize,
    pub width: usize,
    /// The format of `out`.
    pub format: Format,
}

impl Kernel for AddNorm {
    fn name(&self) -> &'static str {
        "add_norm"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "add_norm",
            constants: vec![("HALF", self.format.constant())],
            params: vec![self.rows as u32, self.width as u32, EPSILON.to_bits(), 0],
            workgroups: groups(self.rows, 1),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([bias, residual, gain, shift], [sum, out, moments]) = slices(reads, writes);
        let Self { rows, width, format } = *self;
        format.change(out, [rows, width], |out| {
            let sums = sum.par_chunks_mut(width).zip(residual.par_chunks(width));
            let rows = sums.zip(out.par_chunks_mut(width)).zip(moments.par_chunks_mut(2));
            rows.with_min_len(8).for_each(|(((sum, residual), out), moments)| {
                for ((sum, bias), residual) in sum.iter_mut().zip(bias).zip(residual) {
                    *sum += bias + residual;
                }
                norm(sum, (gain, shift), out, moments);
            });
        });
    }
}

/// A row's LayerNorm.
fn norm(x: &[f32], (gain, shift): (&[f32], &[f32]), out: &mut [f32], moments: &mut [f32]) {
    let width = x.len() as f32;
    let mean = fold(x, 0.0, |sum, x| sum + x, |a, b| a + b) / width;
    let squares = fold(x, 0.0, |sum, x| sum + (x - mean) * (x - mean), |a, b| a + b);
    let inverse = 1.0 / (squares / width + EPSILON).sqrt();
    moments.copy_from_slice(&[mean, inverse]);
    for (((out, x), gain), shift) in out.iter_mut().zip(x).zip(gain).zip(shift) {
        *out = (x - mean) * inverse * gain + shift;
    }
}

/// The rows without gain and shift: reads `x (rows x width)`, `moments (rows x 2)`; writes `out (rows x width)`.
#[derive(Clone, Copy, Debug)]
pub struct Standardize {
    pub rows: usize,
    pub width: usize,
    /// The format of `out`.
    pub format: Format,
}

impl Kernel for Standardize {
    fn name(&self) -> &'static str {
        "standardize"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "standardize",
            constants: vec![("HALF", self.format.constant())],
            params: vec![self.rows as u32, self.width as u32, EPSILON.to_bits(), 0],
            workgroups: groups(self.rows * self.format.line(self.width).div_ceil(2), 64),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, moments], [out]) = slices(reads, writes);
        let Self { rows, width, format } = *self;
        format.change(out, [rows, width], |out| {
            let rows = out.par_chunks_mut(width).zip(x.par_chunks(width)).zip(moments.par_chunks(2));
            rows.with_min_len(8).for_each(|((out, x), moments)| {
                out.iter_mut().zip(x).for_each(|(out, x)| *out = (x - moments[0]) * moments[1]);
            });
        });
    }
}

/// The gradient to the input. Reads `x (rows x width)`, `gain (width)`, `moments (rows x 2)`, `gradient (rows x width)`
/// to the output; adds to, or writes, `out (rows x width)`, and writes it in f16 too if there is a second slice.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormBackward {
    pub rows: usize,
    pub width: usize,
    /// True if the gradient is added to the values of `out`.
    pub accumulate: bool,
    /// True if it is also written in [`Format::F16`].
    pub halved: bool,
}

impl Kernel for LayerNormBackward {
    fn name(&self) -> &'static str {
        if self.halved { "layer_norm_backward_halved" } else { "layer_norm_backward" }
    }

    fn shader(&self, _: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: self.name(),
            params: vec![self.rows as u32, self.width as u32, EPSILON.to_bits(), self.accumulate.into()],
            workgroups: groups(self.rows, 1),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let (out, halves) = writes.split_first_mut().expect("what the kernel writes");
        let ([x, gain, moments, gradient], []) = slices(reads, &mut []);
        let rows = out[..self.rows * self.width].par_chunks_mut(self.width).enumerate();
        rows.with_min_len(8).for_each(|(row, out)| {
            let part = row * self.width..(row + 1) * self.width;
            let (x, gradient) = (&x[part.clone()], &gradient[part]);
            let (mean, inverse) = (moments[2 * row], moments[2 * row + 1]);
            let (mut sum, mut product) = (0.0, 0.0);
            for ((x, gain), gradient) in x.iter().zip(gain).zip(gradient) {
                sum += gradient * gain;
                product += gradient * gain * (x - mean) * inverse;
            }
            let (sum, product) = (sum / self.width as f32, product / self.width as f32);
            for (((out, x), gain), gradient) in out.iter_mut().zip(x).zip(gain).zip(gradient) {
                let d = inverse * (gradient * gain - sum - (x - mean) * inverse * product);
                *out = if self.accumulate { *out + d } else { d };
            }
        });
        if let Some(halves) = halves.first_mut() {
            Halve { rows: self.rows, width: self.width, scale: 1.0 }.twin(&[out], &mut [halves]);
        }
    }
}

/// The gradients to gain and shift. Reads `x (rows x width)`, `moments (rows x 2)`, `gradient (rows x width)`; adds to,
/// or writes, `gain (width)` and `shift (width)`.
#[derive(Clone, Copy, Debug)]
pub struct LayerNormGains {
    pub rows: usize,
    pub width: usize,
    /// True if the gradients are added to the existing values.
    pub accumulate: bool,
}

impl Kernel for LayerNormGains {
    fn name(&self) -> &'static str {
        "layer_norm_gains"
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        Shader {
            source: WGSL,
            entry: "layer_norm_gains",
            constants: vec![("LANES", gpu.lanes().into())],
            params: vec![self.rows as u32, self.width as u32, EPSILON.to_bits(), self.accumulate.into()],
            workgroups: groups(self.width, 16),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, moments, gradient], [gain, shift]) = slices(reads, writes);
        let size = columns(self.width);
        let columns = gain[..self.width].par_chunks_mut(size).zip(shift.par_chunks_mut(size)).enumerate();
        columns.for_each(|(chunk, (gain, shift))| {
            if !self.accumulate {
                gain.fill(0.0);
                shift.fill(0.0);
            }
            for row in 0..self.rows {
                let at = row * self.width + chunk * size;
                let (mean, inverse) = (moments[2 * row], moments[2 * row + 1]);
                for (((gain, shift), x), gradient) in
                    gain.iter_mut().zip(&mut *shift).zip(&x[at..]).zip(&gradient[at..])
                {
                    *gain += gradient * (x - mean) * inverse;
                    *shift += gradient;
                }
            }
        });
    }
}
