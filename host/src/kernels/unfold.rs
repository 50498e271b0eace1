//! The gradients of a LayerNorm and the following Linear, without that to the LayerNorm's input.
//!
//! With `y = (x' gain + shift) W^T + b`, x' the standardised rows, and G the gradient to y, all of them follow from
//! `S = G^T x'` and the sums of G's columns, so that the product `G W` is never computed: `dW = S gain + db shift`,
//! `dgain = sum_i S_i W_i`, `dshift = sum_i db_i W_i`, with i over the rows of W.

use pulp::Simd;
use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, arch, columns, groups, slices};

/// Reads `weight (rows x width)`, `gain (width)`, `shift (width)`, `to_bias (rows)`; turns `s (rows x width)` into the
/// gradient to the weight, and writes `to_gain (width)` and `to_shift (width)`.
#[derive(Clone, Copy, Debug)]
pub struct Unfold {
    pub rows: usize,
    pub width: usize,
}

/// A matrix of which each thread changes some columns of all rows.
struct Columns(*mut f32);

impl Columns {
    /// `count` values from value `at` on.
    ///
    /// # Safety
    /// They must be within the matrix, and not borrowed elsewhere.
    #[allow(clippy::mut_from_ref, reason = "threads share the matrix, and no part of it")]
    unsafe fn part(&self, at: usize, count: usize) -> &mut [f32] {
        // SAFETY: as the caller vouches.
        unsafe { std::slice::from_raw_parts_mut(self.0.add(at), count) }
    }
}

// SAFETY: threads change columns of their own.
unsafe impl Sync for Columns {}

impl Kernel for Unfold {
    fn name(&self) -> &'static str {
        "unfold"
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        Shader {
            source: include_str!("unfold.wgsl"),
            entry: "unfold",
            constants: vec![("LANES", gpu.lanes().into())],
            params: vec![self.rows as u32, self.width as u32],
            workgroups: groups(self.width, 16),
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([weight, gain, shift, to_bias], [s, to_gain, to_shift]) = slices(reads, writes);
        let Self { rows, width } = *self;
        let s = Columns(s[..rows * width].as_mut_ptr());
        let size = columns(width);
        let columns = to_gain[..width].par_chunks_mut(size).zip(to_shift.par_chunks_mut(size)).enumerate();
        columns.for_each(|(chunk, (to_gain, to_shift))| {
            let first = chunk * size;
            to_gain.fill(0.0);
            to_shift.fill(0.0);
            for (row, &to_bias) in to_bias[..rows].iter().enumerate() {
                let at = row * width + first;
                // SAFETY: as many values of row `row` from column `first` on, which are this thread's alone.
                let s = unsafe { s.part(at, to_gain.len()) };
                add_row(s, [&weight[at..], &gain[first..], &shift[first..]], to_bias, to_gain, to_shift);
            }
        });
    }
}

/// Some columns of a row.
#[pulp::with_simd(add_row = arch())]
#[inline(always)]
fn add_row_with<'a, S: Simd>(
    _: S,
    s: &'a mut [f32],
    [weight, gain, shift]: [&'a [f32]; 3],
    to_bias: f32,
    to_gain: &'a mut [f32],
    to_shift: &'a mut [f32],
) {
    let count = s.len();
    let (weight, gain, shift) = (&weight[..count], &gain[..count], &shift[..count]);
    let (to_gain, to_shift) = (&mut to_gain[..count], &mut to_shift[..count]);
    for at in 0..count {
        to_gain[at] += s[at] * weight[at];
        to_shift[at] += to_bias * weight[at];
        s[at] = s[at] * gain[at] + to_bias * shift[at];
    }
}
