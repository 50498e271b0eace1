//! Fusion: adapters that bring the latents of several encoders into one shared space, and their training with FuseMix
//! (Vouitsis et al., arXiv 2312.10144).

mod adapter;
pub mod adapters;
mod batches;
mod bench;
pub mod checkpoint;
mod feed;
mod layers;
mod loss;
mod memory;
mod observer;
mod options;
mod parameter;
mod schedule;
mod tower;
mod train;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::sync::Arc;

use crate::device::{Device, DeviceError};
use crate::latents::Latents;
use adapter::{Mode, Shape};
use parameter::{Fresh, Parameter, Source, Version};
use tower::Tower;

pub use crate::kernels::Precision;
pub use adapters::AdaptersError;
pub use bench::time_product;
pub use checkpoint::{CheckpointError, Checkpoints};
pub use observer::{EpochMetrics, Observer, Outcome};
pub use options::{Mixup, OptionError, Options, TrainOptions};
pub use train::{PairSet, TrainError, Trainer};

/// What a tower puts on its latents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    /// A trained MLP.
    Mlp,
    /// Nothing: the shared space is the tower's own.
    Identity,
}

/// A tower of a fusion.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TowerSpec {
    /// Its name.
    pub name: String,
    /// Values of a latent.
    pub width: usize,
    /// What it puts on its latents.
    pub adapter: AdapterKind,
    /// Blocks of its adapter, if they are not as many as the options say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocks: Option<usize>,
}

/// Towers with their adapters on a device.
pub struct Fusion {
    device: Arc<dyn Device>,
    towers: Vec<Tower>,
    /// The logarithm of the temperature.
    log_tau: Parameter,
    width: usize,
}

/// Latents that go through a tower at once.
const CHUNK: usize = 512;

impl Fusion {
    /// A fusion before its training.
    fn fresh(device: Arc<dyn Device>, towers: Vec<TowerSpec>, options: &Options, seed: u64) -> Self {
        let towers = towers.into_iter().map(|spec| (Shape::of(&spec, options), spec)).collect();
        let mut source = Fresh(ChaCha8Rng::seed_from_u64(seed));
        Self::new(device, towers, options.width, options.temperature, &mut source)
    }

    fn new(
        device: Arc<dyn Device>,
        towers: Vec<(Shape, TowerSpec)>,
        width: usize,
        temperature: f32,
        source: &mut dyn Source,
    ) -> Self {
        let mut tower = |(shape, spec): (Shape, TowerSpec)| {
            source.begin(&spec.name);
            Tower::new(&*device, source, spec, shape)
        };
        let towers = towers.into_iter().map(&mut tower).collect();
        source.begin("");
        let log_tau = source.constant("log_temperature", &[1], temperature.ln());
        let log_tau = Parameter::new(&*device, "log_temperature".into(), &[1], &log_tau);
        Self { device, towers, log_tau, width }
    }

    /// All parameters, by their names in a file of adapters.
    fn parameters(&self) -> Vec<(String, &Parameter)> {
        let of = |tower: &'_ Tower| tower.spec.name.clone();
        let towers = self.towers.iter().flat_map(|tower| {
            tower
                .parameters()
                .into_iter()
                .map(move |parameter| (format!("{}.{}", of(tower), parameter.name), parameter))
        });
        towers.chain([(self.log_tau.name.clone(), &self.log_tau)]).collect()
    }

    /// The towers, in the recipe's order.
    pub fn towers(&self) -> impl Iterator<Item = &TowerSpec> {
        self.towers.iter().map(|tower| &tower.spec)
    }

    /// Width of the shared space.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The embeddings (`rows x width`, L2-normalised) of all `latents` through tower `tower`.
    pub fn embed(&self, tower: usize, latents: &dyn Latents) -> Result<Vec<f32>, DeviceError> {
        let mut all = Vec::with_capacity(latents.len() * self.width);
        self.embed_chunks(tower, latents, &mut |chunk| {
            all.extend_from_slice(chunk);
            Ok::<_, DeviceError>(())
        })?;
        Ok(all)
    }

    /// The same in pieces of whole rows, in order: memory does not grow with the number of latents.
    pub fn embed_chunks<E: From<DeviceError>>(
        &self,
        tower: usize,
        latents: &dyn Latents,
        sink: &mut dyn FnMut(&[f32]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (device, tower) = (&*self.device, &self.towers[tower]);
        assert_eq!(latents.width(), tower.spec.width, "latents of another width than tower `{}`", tower.spec.name);
        let rows = CHUNK.min(latents.len());
        if rows == 0 {
            return Ok(());
        }
        let pass = tower.pass(device, [rows, rows], 1, false);
        let mode = Mode { version: Version::Evaluated, precision: Precision::F32, dropout: 0.0, key: 0 };
        for first in (0..latents.len()).step_by(rows) {
            let count = rows.min(latents.len() - first);
            tower.forward(device, &pass, count, mode, &|_, out| {
                device.fill(out, &mut |values| {
                    let rows = values.par_chunks_mut(latents.width()).enumerate().with_min_len(16);
                    rows.for_each(|(at, out)| latents.copy_row(first + at, out));
                });
            });
            sink(&device.read(pass.embeddings(0, count * self.width))?)?;
        }
        Ok(())
    }
}
