//! Bias, GELU, then dropout, or the same with a gated linear unit (GEGLU of Shazeer, arXiv 2002.05202): forward and
//! backward.
//!
//! A value is dropped by a hash of its place in the batch, so masks need no storage: the backward pass, a recomputation
//! in other micro-batches and another device all get the same mask.

use pulp::Simd;
use rayon::prelude::*;

use super::exp::exp;
use super::{Format, Gpu, Kernel, Shader, arch, groups, slices};

const WGSL: &str = concat!(include_str!("gelu.wgsl"), include_str!("half.wgsl"));

/// The dropout of values.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// The bound, of 2^24, below which a value's hash drops it.
    threshold: u32,
    /// The factor of the other values.
    scale: f32,
    key: u32,
}

impl Dropout {
    /// No dropout.
    pub const NONE: Self = Self { threshold: 0, scale: 1.0, key: 0 };

    /// Dropout of a share `p`; `key` is that of a layer in a step.
    pub fn new(p: f32, key: u32) -> Self {
        Self { threshold: (p * (1 << 24) as f32) as u32, scale: 1.0 / (1.0 - p), key }
    }

    /// The dropout of row `row` of the batch.
    #[inline(always)]
    fn row(self, row: u32) -> u32 {
        hash(hash(row).wrapping_add(self.key))
    }

    /// The factor of the value in `column`.
    #[inline(always)]
    fn factor(self, row: u32, column: u32) -> f32 {
        // An odd factor, so that no two rows are each other's shifted copies.
        let hash = hash(column.wrapping_mul(0x9e37_79b9) ^ row) >> 8;
        if hash >= self.threshold { self.scale } else { 0.0 }
    }
}

/// Two rounds of multiplying and folding (Wellons' `lowbias32`).
#[inline(always)]
pub(crate) fn hash(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Phi(x) and the density phi(x) of the normal distribution (Abramowitz & Stegun 7.1.26, within 1e-7).
#[inline(always)]
fn normal(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * z);
    let e = exp(-z * z);
    let poly = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let tail = 0.5 * poly * e;
    (if x < 0.0 { tail } else { 1.0 - tail }, e * 0.398_942_3)
}

/// A launch over the pairs of lines of `lines` values.
fn shader(entry: &'static str, glu: Glu, lines: usize) -> Shader {
    let Glu { rows, width, first, dropout: Dropout { threshold, scale, key }, format } = glu;
    let params = vec![rows as u32, width as u32, first as u32, threshold, scale.to_bits(), key];
    let constants = vec![("HALF", format.constant())];
    let workgroups = groups(rows * format.line(lines).div_ceil(2), 256);
    Shader { source: WGSL, entry, constants, params, workgroups, ..Shader::default() }
}

/// `out = dropout(gelu(x + bias))`. Reads `x (rows x width)`, `bias (width)`; writes `out (rows x width)`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu {
    pub rows: usize,
    pub width: usize,
    /// Row of the batch that the first of these is.
    pub first: usize,
    pub dropout: Dropout,
    /// The format of all matrices.
    pub format: Format,
}

impl Kernel for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Self { rows, width, first, dropout, format } = *self;
        shader("gelu", Glu { rows, width, first, dropout, format }, width)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, bias], [out]) = slices(reads, writes);
        let Self { rows, width, first, dropout, format } = *self;
        let x = format.read(x, rows, width);
        format.change(out, [rows, width], |out| {
            let rows = out.par_chunks_mut(width).zip(x.par_chunks(width)).enumerate();
            rows.with_min_len(4)
                .for_each(|(at, (out, x))| forward(out, x, bias, dropout, dropout.row((first + at) as u32)));
        });
    }
}

/// A row of [`Gelu`].
#[pulp::with_simd(forward = arch())]
#[inline(always)]
fn forward_with<'a, S: Simd>(_: S, out: &'a mut [f32], x: &'a [f32], bias: &'a [f32], dropout: Dropout, row: u32) {
    let (width, x) = (out.len(), &x[..out.len()]);
    let bias = &bias[..width];
    for at in 0..width {
        let x = x[at] + bias[at];
        out[at] = x * normal(x).0 * dropout.factor(row, at as u32);
    }
}

/// `gradient = dropout(gradient) gelu'(x + bias)`. Reads `x (rows x width)`, `bias (width)`; changes `gradient (rows x
/// width)`, and writes the output of [`Gelu`] again, `out (rows x width)`, which is not kept.
#[derive(Clone, Copy, Debug)]
pub struct GeluBackward {
    pub rows: usize,
    pub width: usize,
    /// Row of the batch that the first of these is.
    pub first: usize,
    pub dropout: Dropout,
    /// The format of all matrices.
    pub format: Format,
}

impl Kernel for GeluBackward {
    fn name(&self) -> &'static str {
        "gelu_backward"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Self { rows, width, first, dropout, format } = *self;
        shader("gelu_backward", Glu { rows, width, first, dropout, format }, width)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, bias], [gradient, out]) = slices(reads, writes);
        let Self { rows, width, first, dropout, format } = *self;
        let (x, shape) = (format.read(x, rows, width), [rows, width]);
        format.change(gradient, shape, |gradient| {
            format.change(out, shape, |out| {
                let rows = gradient.par_chunks_mut(width).zip(out.par_chunks_mut(width)).zip(x.par_chunks(width));
                rows.enumerate().with_min_len(4).for_each(|(at, ((gradient, out), x))| {
                    backward(gradient, out, x, bias, dropout, dropout.row((first + at) as u32));
                });
            });
        });
    }
}

/// A row of [`GeluBackward`].
#[pulp::with_simd(backward = arch())]
#[inline(always)]
fn backward_with<'a, S: Simd>(
    _: S,
    gradient: &'a mut [f32],
    out: &'a mut [f32],
    x: &'a [f32],
    bias: &'a [f32],
    dropout: Dropout,
    row: u32,
) {
    let width = out.len();
    let (gradient, x, bias) = (&mut gradient[..width], &x[..width], &bias[..width]);
    for at in 0..width {
        let x = x[at] + bias[at];
        let (cumulated, density) = normal(x);
        let factor = dropout.factor(row, at as u32);
        out[at] = x * cumulated * factor;
        gradient[at] *= (cumulated + x * density) * factor;
    }
}

/// `out = dropout(gelu(a) b)`, with a and b the halves of a row of `x + bias`. Reads `x (rows x 2 width)`, `bias (2
/// width)`; writes `out (rows x width)`.
#[derive(Clone, Copy, Debug)]
pub struct Glu {
    pub rows: usize,
    /// Values of a half.
    pub width: usize,
    /// Row of the batch that the first of these is.
    pub first: usize,
    pub dropout: Dropout,
    /// The format of all matrices.
    pub format: Format,
}

impl Kernel for Glu {
    fn name(&self) -> &'static str {
        "glu"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("glu", *self, self.width)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, bias], [out]) = slices(reads, writes);
        let Self { rows, width, first, dropout, format } = *self;
        let x = format.read(x, rows, 2 * width);
        format.change(out, [rows, width], |out| {
            let rows = out.par_chunks_mut(width).zip(x.par_chunks(2 * width)).enumerate();
            rows.with_min_len(4)
                .for_each(|(at, (out, x))| gate(out, x, bias, dropout, dropout.row((first + at) as u32)));
        });
    }
}

/// A row of [`Glu`].
#[pulp::with_simd(gate = arch())]
#[inline(always)]
fn gate_with<'a, S: Simd>(_: S, out: &'a mut [f32], x: &'a [f32], bias: &'a [f32], dropout: Dropout, row: u32) {
    let width = out.len();
    let (x, bias) = (&x[..2 * width], &bias[..2 * width]);
    for at in 0..width {
        let (a, b) = (x[at] + bias[at], x[width + at] + bias[width + at]);
        out[at] = a * normal(a).0 * b * dropout.factor(row, at as u32);
    }
}

/// The gradient to `x`. Reads `x (rows x 2 width)`, `bias (2 width)`, and `gradient (rows x width)` to the output;
/// writes `to_x (rows x 2 width)`, and the output of [`Glu`] again, `out (rows x width)`, which is not kept.
#[derive(Clone, Copy, Debug)]
pub struct GluBackward(pub Glu);

impl Kernel for GluBackward {
    fn name(&self) -> &'static str {
        "glu_backward"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        shader("glu_backward", self.0, 2 * self.0.width)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x, bias, gradient], [to_x, out]) = slices(reads, writes);
        let Glu { rows, width, first, dropout, format } = self.0;
        let (x, gradient) = (format.read(x, rows, 2 * width), format.read(gradient, rows, width));
        format.change(to_x, [rows, 2 * width], |to_x| {
            format.change(out, [rows, width], |out| {
                let rows = to_x.par_chunks_mut(2 * width).zip(out.par_chunks_mut(width)).zip(x.par_chunks(2 * width));
                let rows = rows.zip(gradient.par_chunks(width)).enumerate();
                rows.with_min_len(4).for_each(|(at, (((to_x, out), x), gradient))| {
                    gate_backward([to_x, out], x, bias, gradient, dropout, dropout.row((first + at) as u32));
                });
            });
        });
    }
}

/// A row of [`GluBackward`].
#[pulp::with_simd(gate_backward = arch())]
#[inline(always)]
fn gate_backward_with<'a, S: Simd>(
    _: S,
    [to_x, out]: [&'a mut [f32]; 2],
    x: &'a [f32],
    bias: &'a [f32],
    gradient: &'a [f32],
    dropout: Dropout,
    row: u32,
) {
    let width = out.len();
    let (x, bias, gradient) = (&x[..2 * width], &bias[..2 * width], &gradient[..width]);
    let (to_a, to_b) = to_x.split_at_mut(width);
    for at in 0..width {
        let (a, b) = (x[at] + bias[at], x[width + at] + bias[width + at]);
        let (cumulated, density) = normal(a);
        let factor = dropout.factor(row, at as u32);
        out[at] = a * cumulated * b * factor;
        to_a[at] = gradient[at] * (cumulated + a * density) * b * factor;
        to_b[at] = gradient[at] * a * cumulated * factor;
    }
}
