//! A map in closed form: standardised latents, their similarity to anchors if there are some, and a matrix.

use rayon::prelude::*;

use crate::kernels::{Kernel as _, Matmul, Order, Precision};

/// The map of a tower. Of a latent x, with a = unit((x - mean) * scale): unit(weight k(a) + bias), where k(a) is a
/// itself, or its similarities to anchors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Projection {
    pub(crate) input: Input,
    /// None for a linear map.
    pub(crate) kernel: Option<Kernel>,
    /// `shared x inputs`.
    pub(crate) weight: Vec<f32>,
    /// `shared`.
    pub(crate) bias: Vec<f32>,
}

/// The standardisation of latents: (x - mean) * scale by dimension, then length 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
}

/// The similarities exp((a . anchor - 1) / tau).
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    /// `anchors x width`, each of length 1.
    pub(crate) anchors: Vec<f32>,
    pub(crate) tau: f32,
}

impl Input {
    /// Standardises rows in place. What is the mean itself stays zero.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        rows.par_chunks_mut(self.mean.len()).for_each(|row| {
            for ((value, mean), scale) in row.iter_mut().zip(&self.mean).zip(&self.scale) {
                *value = (*value - mean) * scale;
            }
            unit(row);
        });
    }
}

impl Kernel {
    /// The similarities `(rows x anchors)` of rows of length 1.
    pub(crate) fn of(&self, rows: &[f32], width: usize) -> Vec<f32> {
        let mut out = product(rows, &self.anchors, width);
        out.par_iter_mut().with_min_len(1 << 14).for_each(|value| *value = ((*value - 1.0) / self.tau).exp());
        out
    }
}

impl Projection {
    /// Dimensions of what it maps to.
    pub(crate) fn width(&self) -> usize {
        self.bias.len()
    }

    /// The embeddings `(rows x shared)` of latents `(rows x width)`.
    pub(crate) fn embed(&self, latents: &[f32]) -> Vec<f32> {
        let width = self.input.mean.len();
        let mut rows = latents.to_vec();
        self.input.apply(&mut rows);
        let (features, inputs) = match &self.kernel {
            Some(kernel) => (kernel.of(&rows, width), kernel.anchors.len() / width),
            None => (rows, width),
        };
        let mut out = product(&features, &self.weight, inputs);
        out.par_chunks_mut(self.width()).for_each(|row| {
            row.iter_mut().zip(&self.bias).for_each(|(value, bias)| *value += bias);
            unit(row);
        });
        out
    }
}

/// The inner products `(m x n)` of rows, `x (m x k)` with `y (n x k)`.
pub(crate) fn product(x: &[f32], y: &[f32], k: usize) -> Vec<f32> {
    let (m, n) = (x.len() / k, y.len() / k);
    let mut out = vec![0.0; m * n];
    if !out.is_empty() {
        let (a, b, precision) = (Order::Rows, Order::Columns, Precision::F32);
        Matmul { m, n, k, a, b, accumulate: false, precision, scale: 1.0 }.twin(&[x, y], &mut [&mut out]);
    }
    out
}

/// Scales to length 1; zero stays zero.
pub(crate) fn unit(row: &mut [f32]) {
    let square: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
    let inverse = if square > 0.0 { (1.0 / square.sqrt()) as f32 } else { 0.0 };
    row.iter_mut().for_each(|value| *value *= inverse);
}
