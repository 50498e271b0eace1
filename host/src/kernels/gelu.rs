//! GELU, then dropout: forward and backward.
//!
//! A value is left out by a hash of its place, so that a mask is never stored: the backward pass, a recomputation and the
//! other device all find the same one.

use pulp::Arch;
use rayon::prelude::*;

use super::exp::exp;
use super::{CHUNK, Kernel, buffers, groups};

/// Which values are left out.
#[derive(Clone, Copy, Debug)]
pub struct Dropout {
    /// Values whose hash is below this, of 2^24, are left out.
    threshold: u32,
    /// What the others are multiplied with.
    scale: f32,
    key: u32,
}

impl Dropout {
    /// Leaves nothing out.
    pub const NONE: Self = Self { threshold: 0, scale: 1.0, key: 0 };

    /// Leaves out a share of `p`; `key` is that of a layer in a step.
    pub fn new(p: f32, key: u32) -> Self {
        Self { threshold: (p * (1 << 24) as f32) as u32, scale: 1.0 / (1.0 - p), key }
    }

    /// What the value at `at` is multiplied with.
    #[inline(always)]
    fn factor(self, at: u32) -> f32 {
        let hash = hash(hash(at).wrapping_add(self.key)) >> 8;
        if hash >= self.threshold { self.scale } else { 0.0 }
    }

    fn params(self) -> [u32; 3] {
        [self.threshold, self.scale.to_bits(), self.key]
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

/// `out = dropout(x Phi(x))`. Reads `x (count)`; writes `out (count)`.
#[derive(Clone, Copy, Debug)]
pub struct Gelu {
    pub count: usize,
    pub dropout: Dropout,
}

impl Kernel for Gelu {
    fn wgsl(&self) -> &'static str {
        include_str!("gelu.wgsl")
    }

    fn entry(&self) -> &'static str {
        "gelu"
    }

    fn params(&self) -> Vec<u32> {
        [&[self.count as u32][..], &self.dropout.params()].concat()
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.count, 256)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x], [out]) = buffers(reads, writes);
        let (dropout, arch) = (self.dropout, Arch::new());
        let chunks = out[..self.count].par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate();
        chunks.for_each(|(chunk, (out, x))| {
            arch.dispatch(
                #[inline(always)]
                || {
                    for ((at, out), &x) in ((chunk * CHUNK) as u32..).zip(out).zip(x) {
                        *out = x * normal(x).0 * dropout.factor(at);
                    }
                },
            );
        });
    }
}

/// `gradient = dropout(gradient) (Phi(x) + x phi(x))`. Reads `x (count)`; changes `gradient (count)`.
#[derive(Clone, Copy, Debug)]
pub struct GeluBackward {
    pub count: usize,
    pub dropout: Dropout,
}

impl Kernel for GeluBackward {
    fn wgsl(&self) -> &'static str {
        include_str!("gelu.wgsl")
    }

    fn entry(&self) -> &'static str {
        "gelu_backward"
    }

    fn params(&self) -> Vec<u32> {
        [&[self.count as u32][..], &self.dropout.params()].concat()
    }

    fn workgroups(&self) -> [u32; 3] {
        groups(self.count, 256)
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([x], [gradient]) = buffers(reads, writes);
        let (dropout, arch) = (self.dropout, Arch::new());
        let chunks = gradient[..self.count].par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).enumerate();
        chunks.for_each(|(chunk, (gradient, x))| {
            arch.dispatch(
                #[inline(always)]
                || {
                    for ((at, gradient), &x) in ((chunk * CHUNK) as u32..).zip(gradient).zip(x) {
                        let (cumulated, density) = normal(x);
                        *gradient *= (cumulated + x * density) * dropout.factor(at);
                    }
                },
            );
        });
    }
}
