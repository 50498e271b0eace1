//! A trained array: its value, and while it is trained its gradient and the optimizer's moments.

use rand::{Rng, RngExt};
use std::sync::OnceLock;

use crate::device::{Buffer, Device};
use crate::kernels::AdamW;

pub(super) struct Parameter {
    /// Within its tower, as the checkpoint has it.
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) value: Buffer,
    training: OnceLock<Training>,
}

struct Training {
    gradient: Buffer,
    moments: [Buffer; 2],
}

/// What parameters are when training begins or a checkpoint is read.
pub(super) trait Source {
    /// What follows is of this tower; of none if it has no name.
    fn begin(&mut self, _tower: &str) {}

    /// The values of a matrix's entries or of a bias: uniform within `1 / sqrt(inputs)`, as PyTorch's `Linear` begins.
    fn uniform(&mut self, name: &str, shape: &[usize], inputs: usize) -> Vec<f32>;

    /// Values that begin alike.
    fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Vec<f32>;
}

/// The beginning of a training.
pub(super) struct Fresh<R>(pub(super) R);

impl<R: Rng> Source for Fresh<R> {
    fn uniform(&mut self, _: &str, shape: &[usize], inputs: usize) -> Vec<f32> {
        let bound = 1.0 / (inputs as f32).sqrt();
        (0..shape.iter().product()).map(|_| self.0.random_range(-bound..bound)).collect()
    }

    fn constant(&mut self, _: &str, shape: &[usize], value: f32) -> Vec<f32> {
        vec![value; shape.iter().product()]
    }
}

impl Parameter {
    pub(super) fn new(device: &dyn Device, name: String, shape: &[usize], values: &[f32]) -> Self {
        Self { name, shape: shape.to_vec(), value: device.upload(values), training: OnceLock::new() }
    }

    /// Makes room for a gradient and moments.
    pub(super) fn train(&self, device: &dyn Device) {
        let zeros = || device.zeros(self.value.len());
        self.training.get_or_init(|| Training { gradient: zeros(), moments: [zeros(), zeros()] });
    }

    fn training(&self) -> &Training {
        self.training.get().expect("a parameter is made ready before it is trained")
    }

    pub(super) fn gradient(&self) -> &Buffer {
        &self.training().gradient
    }

    /// Takes the optimizer's step number `step`, from 1. Matrices decay; vectors do not.
    pub(super) fn update(&self, device: &dyn Device, step: usize, lr: f32, decay: f32, range: [f32; 2]) {
        let decay = if self.shape.len() > 1 { decay } else { 0.0 };
        let update = AdamW { count: self.value.len(), lr, decay, step: step as i32, range };
        let Training { gradient, moments: [first, second] } = self.training();
        device.launch(&update, &[gradient], &[&self.value, first, second]);
    }
}
