//! Timing of steps, and their number of operations.

use std::time::{Duration, Instant};

use super::draws;
use super::error::TrainError;
use super::train::Trainer;
use crate::device::{Device, DeviceError};
use crate::kernels::{Format, Halve, Matmul, Precision, hash};
use crate::nn::{AdapterKind, Version};

/// The least duration of a round of products.
const ROUND: Duration = Duration::from_millis(60);

impl Trainer {
    /// Takes `steps` steps, waits for each, and returns their durations.
    pub fn time_steps(&mut self, steps: usize) -> Result<Vec<Duration>, TrainError> {
        let mut times = Vec::new();
        for number in 0..steps {
            let draw = draws::epoch(self.seed, number, &self.decks(), &self.options).swap_remove(0);
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

/// The durations of a product of random factors: the mean of each of `rounds` rounds of launches. Where the device
/// times kernels itself, the time to launch them does not count.
pub fn time_product(device: &dyn Device, product: &Matmul, rounds: usize) -> Result<Vec<Duration>, DeviceError> {
    let Matmul { m, n, precision, .. } = *product;
    let halves = precision == Precision::Bf16 && device.reads_f16();
    let format = if halves { Format::F16 } else { Format::F32 };
    let product = &Matmul { formats: [format, Format::F32], ..*product };
    let random = |at: usize| hash(at as u32) as f32 / (1u32 << 31) as f32 - 1.0;
    let factor = |[rows, width]: [usize; 2]| {
        let values = device.upload(&(0..rows * width).map(random).collect::<Vec<f32>>());
        if !halves {
            return values;
        }
        let halves = device.zeros(format.values(rows, width));
        device.launch(&Halve { rows, width, scale: 1.0 }, &[values.all()], &[halves.all()]);
        halves
    };
    let [a, b] = product.lines().map(factor);
    let out = device.zeros(m * n);
    let round = |launches: u32| {
        device.profile().take();
        let start = Instant::now();
        (0..launches).for_each(|_| device.launch(product, &[a.all(), b.all()], &[out.all()]));
        device.read(out.part(0, 1))?;
        let waited = start.elapsed();
        let timed: Duration = device.profile().take().iter().map(|(_, kernel)| kernel.time).sum();
        Ok(if timed.is_zero() { waited } else { timed } / launches)
    };
    // The first launch compiles, the second tells how many fill a round, and a round wakes the device up.
    round(1)?;
    let launches = (ROUND.as_secs_f64() / round(1)?.as_secs_f64()) as u32;
    let launches = launches.clamp(1, 1000);
    if launches > 1 {
        round(launches)?;
    }
    (0..rounds).map(|_| round(launches)).collect()
}
