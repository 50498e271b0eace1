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
    /// None for a map to k(a) itself.
    pub(crate) head: Option<Head>,
}

/// The standardisation of latents: (x - mean) * scale by dimension, then length 1.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Input {
    /// True if latents are scaled to length 1 first.
    pub(crate) unit: bool,
    pub(crate) mean: Vec<f32>,
    pub(crate) scale: Vec<f32>,
}

/// Similarities to anchors.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Kernel {
    /// `anchors x width`, each of length 1.
    pub(crate) anchors: Vec<f32>,
    pub(crate) similarity: Similarity,
}

/// The similarity of a and b, both of length 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Similarity {
    /// exp((a . b - 1) / tau).
    Exponential { tau: f32 },
    /// max(a . b, 0) to the power, and 0 unless b is among the `top` anchors nearest to a.
    Cosine { power: f32, top: usize },
}

/// A matrix and a bias.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Head {
    /// `shared x inputs`.
    pub(crate) weight: Vec<f32>,
    /// `shared`.
    pub(crate) bias: Vec<f32>,
}

impl Input {
    /// Leaves latents of so many values as they are, but for their length.
    pub(crate) fn plain(width: usize) -> Self {
        Self { unit: false, mean: vec![0.0; width], scale: vec![1.0; width] }
    }

    /// True if latents may as well be of length 1: it brings them there, does not look at their length, or was made for
    /// such, whose squares are 1 in the mean.
    pub(crate) fn takes_length_1(&self) -> bool {
        let of_deviation = |scale: &f32| if *scale > 0.0 { f64::from(*scale).powi(-2) } else { 0.0 };
        let of_mean: f64 = self.mean.iter().map(|mean| f64::from(*mean).powi(2)).sum();
        let squares = of_mean + self.scale.iter().map(of_deviation).sum::<f64>();
        self.unit || of_mean == 0.0 || (squares - 1.0).abs() < 0.1
    }

    /// Standardises rows in place. What is the mean itself stays zero.
    pub(crate) fn apply(&self, rows: &mut [f32]) {
        rows.par_chunks_mut(self.mean.len()).for_each(|row| {
            if self.unit {
                unit(row);
            }
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
        self.similarity.apply(&mut out, self.anchors.len() / width);
        out
    }
}

impl Similarity {
    /// Makes similarities of cosines `(rows x anchors)`.
    fn apply(self, cosines: &mut [f32], anchors: usize) {
        match self {
            Self::Exponential { tau } => {
                cosines.par_iter_mut().with_min_len(1 << 14).for_each(|value| *value = ((*value - 1.0) / tau).exp())
            }
            Self::Cosine { power, top } => cosines.par_chunks_mut(anchors.max(1)).for_each(|row| {
                let least = match top < row.len() {
                    true => *row.to_vec().select_nth_unstable_by(top - 1, |a, b| b.total_cmp(a)).1,
                    false => f32::NEG_INFINITY,
                };
                let of = |cosine: f32| if cosine < least { 0.0 } else { cosine.max(0.0).powf(power) };
                row.iter_mut().for_each(|value| *value = of(*value));
            }),
        }
    }
}

impl Projection {
    /// Dimensions of what it maps to.
    pub(crate) fn width(&self) -> usize {
        self.head.as_ref().map_or(self.features(), |head| head.bias.len())
    }

    /// Values of k(a).
    pub(crate) fn features(&self) -> usize {
        let width = self.input.mean.len();
        self.kernel.as_ref().map_or(width, |kernel| kernel.anchors.len() / width)
    }

    /// The embeddings `(rows x shared)` of latents `(rows x width)`.
    pub(crate) fn embed(&self, latents: &[f32]) -> Vec<f32> {
        let mut out = self.map(latents);
        out.par_chunks_mut(self.width()).for_each(unit);
        out
    }

    /// The embeddings before they are scaled to length 1.
    pub(crate) fn map(&self, latents: &[f32]) -> Vec<f32> {
        let mut rows = latents.to_vec();
        self.input.apply(&mut rows);
        let features = match &self.kernel {
            Some(kernel) => kernel.of(&rows, self.input.mean.len()),
            None => rows,
        };
        match &self.head {
            None => features,
            Some(Head { weight, bias }) => {
                let mut out = product(&features, weight, self.features());
                let add = |row: &mut [f32]| row.iter_mut().zip(bias).for_each(|(value, bias)| *value += bias);
                out.par_chunks_mut(bias.len()).for_each(add);
                out
            }
        }
    }
}

/// The inner products `(m x n)` of rows, `x (m x k)` with `y (n x k)`.
pub(crate) fn product(x: &[f32], y: &[f32], k: usize) -> Vec<f32> {
    let (m, n) = (x.len() / k, y.len() / k);
    let mut out = vec![0.0; m * n];
    if !out.is_empty() {
        Matmul::new([m, n, k], [Order::Rows, Order::Columns], Precision::F32).twin(&[x, y], &mut [&mut out]);
    }
    out
}

/// Scales to length 1; zero stays zero.
pub(crate) fn unit(row: &mut [f32]) {
    let square: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
    let inverse = if square > 0.0 { 1.0 / square.sqrt() } else { 0.0 };
    row.iter_mut().for_each(|value| *value = (f64::from(*value) * inverse) as f32);
}
