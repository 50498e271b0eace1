//! Towers whose adapters were trained, on a device.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::projection::Projection;
use super::tower::{Room, Tower, TowerSpec};
use crate::device::{Device, DeviceError};
use crate::kernels::{Format, Precision};
use crate::nn::{Mode, Parameter, Shape, Source, Version};

/// Towers with their adapters on a device.
pub(crate) struct Network {
    pub(crate) device: Arc<dyn Device>,
    pub(crate) towers: Vec<Tower>,
    /// The logarithm of the temperature at which the towers were fitted.
    pub(crate) log_tau: Parameter,
    /// Width of the shared space.
    pub(crate) width: usize,
    /// Of each tower, the map of its latents to what its adapter takes; none for the latents themselves.
    pub(crate) fronts: Vec<Projection>,
    /// Held by the one who embeds on a GPU, which tells of a failure only once.
    embedding: Mutex<()>,
}

impl Network {
    /// Towers into `width` dimensions, whose parameters come from `source`.
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
        Self { device, towers, log_tau, width, fronts: Vec::new(), embedding: Mutex::default() }
    }

    /// The same, with a map of each tower's latents to what its adapter takes.
    pub(crate) fn behind(self, fronts: Vec<Projection>) -> Self {
        Self { fronts, ..self }
    }

    /// The same adapters behind other maps, which end in the same widths.
    pub(crate) fn with_fronts(&self, fronts: Vec<Projection>) -> Result<Self, DeviceError> {
        let read =
            |(name, parameter): (String, &Parameter)| Ok((name, self.device.read(parameter.values(Version::Kept))?));
        let values = self.parameters().into_iter().map(read).collect::<Result<_, DeviceError>>()?;
        let mut copied = Copied { values, tower: String::new() };
        let towers = self.towers.iter().map(|tower| (tower.adapter.shape(), tower.spec.clone())).collect();
        Ok(Self::new(self.device.clone(), towers, self.width, 1.0, &mut copied).behind(fronts))
    }

    /// Values of a latent of a tower, before its front if it has one.
    pub(crate) fn latent_width(&self, tower: usize) -> usize {
        let front = self.fronts.get(tower).map(|front| front.input.mean.len());
        front.unwrap_or(self.towers[tower].spec.width)
    }

    /// All parameters, by their names in a file of adapters.
    pub(crate) fn parameters(&self) -> Vec<(String, &Parameter)> {
        self.parameters_of_part("")
    }

    /// All parameters, by their names where the network is a part of a joint space.
    pub(super) fn parameters_of_part(&self, part: &str) -> Vec<(String, &Parameter)> {
        let log_tau = (format!("{part}{}", self.log_tau.name), &self.log_tau);
        let of = self.towers.iter().flat_map(|tower| {
            let prefix = format!("{}.{part}", tower.spec.name);
            tower.parameters().into_iter().map(move |parameter| (format!("{prefix}{}", parameter.name), parameter))
        });
        of.chain([log_tau]).collect()
    }

    /// A tower that embeds up to so many rows at once.
    pub(super) fn embedder(&self, tower: usize, rows: usize) -> Embedder<'_> {
        let device = &*self.device;
        let alone = (!device.shares_memory()).then(|| self.embedding.lock().unwrap_or_else(PoisonError::into_inner));
        let (front, tower) = (self.fronts.get(tower), &self.towers[tower]);
        Embedder { device, front, tower, room: tower.room(device, rows), _alone: alone }
    }
}

/// The values of another network's parameters, by name.
struct Copied {
    values: HashMap<String, Vec<f32>>,
    tower: String,
}

impl Source for Copied {
    fn begin(&mut self, tower: &str) {
        self.tower = tower.to_owned();
    }

    fn uniform(&mut self, name: &str, _: &[usize], _: usize) -> Vec<f32> {
        let name = if self.tower.is_empty() { name.to_owned() } else { format!("{}.{name}", self.tower) };
        self.values.remove(&name).expect("a network of the same shapes has the same parameters")
    }

    fn constant(&mut self, name: &str, shape: &[usize], _: f32) -> Vec<f32> {
        self.uniform(name, shape, 0)
    }
}

/// A tower at work.
pub(super) struct Embedder<'a> {
    device: &'a dyn Device,
    front: Option<&'a Projection>,
    tower: &'a Tower,
    room: Room,
    _alone: Option<MutexGuard<'a, ()>>,
}

impl Embedder<'_> {
    /// The embeddings `(count x shared)`, of length 1, of `latents (count x width)`.
    pub(super) fn embed(&self, latents: &[f32]) -> Result<Vec<f32>, DeviceError> {
        let format = Format::F32;
        let mode = Mode { version: Version::Evaluated, precision: Precision::F32, format, dropout: 0.0, key: 0 };
        let mapped = self.front.map(|front| front.map(latents));
        let latents = mapped.as_deref().unwrap_or(latents);
        let count = latents.len() / self.tower.spec.width;
        let mut fill = |values: &mut [f32]| values.copy_from_slice(latents);
        self.device.read(self.tower.embed(self.device, &self.room, count, mode, &mut fill))
    }
}
