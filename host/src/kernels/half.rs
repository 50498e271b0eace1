//! Matrices of f16 in memory: lines begin at multiples of eight values, and the values behind their ends are zeros, so
//! that products read them eight at a time.

use half::f16;
use rayon::prelude::*;
use std::borrow::Cow;

use super::{Gpu, Kernel, Shader, groups, slices};

/// Values of a line are a multiple of this.
const LINE: usize = 8;

/// The format of a matrix in memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// f32, line by line.
    #[default]
    F32,
    /// f16, two a value of a buffer.
    F16,
}

impl Format {
    /// Values of a buffer for `rows` lines of `width`.
    pub fn values(self, rows: usize, width: usize) -> usize {
        match self {
            Self::F32 => rows * width,
            Self::F16 => rows * self.line(width) / 2,
        }
    }

    /// From one line of `width` to the next, in values of the format.
    pub(super) fn line(self, width: usize) -> usize {
        match self {
            Self::F32 => width,
            Self::F16 => width.next_multiple_of(LINE),
        }
    }

    /// The constant by which shaders know it.
    pub(super) fn constant(self) -> f64 {
        f64::from(u8::from(self == Self::F16))
    }

    /// A matrix of `rows` lines of `width` as f32.
    pub(super) fn read(self, values: &[f32], rows: usize, width: usize) -> Cow<'_, [f32]> {
        let values = &values[..self.values(rows, width)];
        match self {
            Self::F32 => Cow::Borrowed(values),
            Self::F16 => {
                let halves: &[f16] = bytemuck::cast_slice(values);
                let lines = halves.chunks(self.line(width));
                Cow::Owned(lines.flat_map(|line| line[..width].iter().map(|half| half.to_f32())).collect())
            }
        }
    }

    /// Lets `change` write or change a matrix of `rows` lines of `width` as f32.
    pub(super) fn change(self, out: &mut [f32], [rows, width]: [usize; 2], change: impl FnOnce(&mut [f32])) {
        let out = &mut out[..self.values(rows, width)];
        match self {
            Self::F32 => change(out),
            Self::F16 => {
                let mut lines = self.read(out, rows, width).into_owned();
                change(&mut lines);
                self.write(&lines, width, out);
            }
        }
    }

    /// Writes lines of `width`.
    pub(super) fn write(self, lines: &[f32], width: usize, out: &mut [f32]) {
        match self {
            Self::F32 => out.copy_from_slice(lines),
            Self::F16 => {
                let halves: &mut [f16] = bytemuck::cast_slice_mut(out);
                let both = halves.par_chunks_mut(self.line(width)).zip(lines.par_chunks(width));
                both.for_each(|(halves, values)| {
                    let (within, behind) = halves.split_at_mut(width);
                    within.iter_mut().zip(values).for_each(|(half, value)| *half = f16::from_f32(*value));
                    behind.fill(f16::ZERO);
                });
            }
        }
    }
}

/// A matrix in f16. Reads `values (rows x width)`; writes them times `scale` as `out (rows x width)` in
/// [`Format::F16`].
#[derive(Clone, Copy, Debug)]
pub struct Halve {
    pub rows: usize,
    pub width: usize,
    /// The power of two that brings them into f16's range.
    pub scale: f32,
}

impl Kernel for Halve {
    fn name(&self) -> &'static str {
        "halve"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let pairs = Format::F16.values(self.rows, self.width);
        Shader {
            source: concat!(include_str!("halve.wgsl"), include_str!("half.wgsl")),
            entry: "halve",
            params: vec![self.rows as u32, self.width as u32, self.scale.to_bits()],
            workgroups: groups(pairs, 256),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([values], [out]) = slices(reads, writes);
        let (rows, width) = (self.rows, self.width);
        Format::F16.change(out, [rows, width], |out| {
            out.iter_mut().zip(values).for_each(|(out, value)| *out = self.scale * value);
        });
    }
}
