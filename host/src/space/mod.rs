//! A fitted space: towers that bring the latents of several encoders together, its file, and the embedding of latents.

mod file;
mod tower;

use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

use crate::device::{Device, DeviceError};
use crate::kernels::Precision;
use crate::latents::Latents;
use crate::nn::{Mode, Parameter, Shape, Source, Version};

pub use crate::nn::AdapterKind;
pub use file::SpaceError;
pub(crate) use tower::Tower;
pub use tower::TowerSpec;

/// Towers with their adapters on a device.
pub struct Space {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) towers: Vec<Tower>,
    /// The logarithm of the temperature at which the towers were fitted.
    pub(crate) log_tau: Parameter,
    width: usize,
    /// Held by the one who embeds on a GPU, which tells of a failure only once.
    embedding: Mutex<()>,
}

/// Latents that pass through a tower at once.
const CHUNK: usize = 512;

impl Space {
    /// A space of `width` dimensions whose parameters come from `source`.
    pub(crate) fn new(
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
        Self { device, towers, log_tau, width, embedding: Mutex::default() }
    }

    /// All parameters, by their names in the file of a space.
    pub(crate) fn parameters(&self) -> Vec<(String, &Parameter)> {
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

    /// The embeddings in pieces of whole rows, in order, so that memory does not grow with the number of latents.
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
        let _alone = (!device.shares_memory()).then(|| self.embedding.lock().unwrap_or_else(PoisonError::into_inner));
        let room = tower.room(device, rows);
        let mode = Mode { version: Version::Evaluated, precision: Precision::F32, dropout: 0.0, key: 0 };
        for first in (0..latents.len()).step_by(rows) {
            let count = rows.min(latents.len() - first);
            let embeddings = tower.embed(device, &room, count, mode, &mut |values| {
                let rows = values.par_chunks_mut(latents.width()).enumerate().with_min_len(16);
                rows.for_each(|(at, out)| latents.copy_row(first + at, out));
            });
            sink(&device.read(embeddings)?)?;
        }
        Ok(())
    }
}
