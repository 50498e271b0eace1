//! Timing of steps, and their number of operations.

use std::time::{Duration, Instant};

use super::draws;
use super::error::TrainError;
use super::train::Trainer;
use crate::device::{Device, DeviceError};
use crate::kernels::{Matmul, Order, Precision};
use crate::nn::{AdapterKind, Version};

impl Trainer {
    /// Takes `steps` steps, waits for each, and returns their durations.
    pub fn time_steps(&mut self, steps: usize) -> Result<Vec<Duration>, TrainError> {
        let mut times = Vec::new();
        for number in 0..steps {
            let draw = draws::epoch(self.seed, number, &self.sizes(), &self.options).swap_remove(0);
            let start = Instant::now();
            self.position.at = 0;
            self.step(&draw, self.options.lr, &|| true)?;
            self.losses()?;
            times.push(start.elapsed());
        }
        Ok(times)
    }

    /// Multiplications and additions of a step over the first pair set: three products per weight matrix (two for the
    /// first, whose input needs no gradient), and three of all embeddings with all others. Recomputation to save memory
    /// does not count.
    pub fn step_flops(&self) -> f64 {
        let set = &self.sets[0];
        let rows = set.size.batch as f64;
        let parameters = set.towers.iter().flat_map(|&tower| self.network.towers[tower].parameters());
        let weights: usize = parameters
            .filter(|parameter| parameter.shape.len() > 1)
            .map(|parameter| parameter.values(Version::Trained).len())
            .sum();
        // The input of a tower's first product needs no gradient.
        let first = |&tower: &usize| match self.network.towers[tower].adapter.shape() {
            shape if shape.kind == AdapterKind::Linear => shape.width * shape.shared,
            shape if shape.blocks > 0 => shape.width * shape.up(),
            _ => 0,
        };
        let first: usize = set.towers.iter().map(first).sum();
        (6 * weights - 2 * first) as f64 * rows + 6.0 * rows * rows * self.network.width as f64
    }
}

/// The duration of a product of two square matrices on a device.
pub fn time_product(device: &dyn Device, side: usize, precision: Precision) -> Result<Duration, DeviceError> {
    let values: Vec<f32> = (0..side * side).map(|at| (at % 251) as f32 / 251.0).collect();
    let (a, b, out) = (device.upload(&values), device.upload(&values), device.zeros(side * side));
    let product = Matmul::new([side; 3], [Order::Rows; 2], precision);
    device.read(a.part(0, 1))?;
    let start = Instant::now();
    device.launch(&product, &[a.all(), b.all()], &[out.all()]);
    device.read(out.part(0, 1))?;
    Ok(start.elapsed())
}
