//! A fitted space: towers that bring the latents of several encoders together, its file, and the embedding of latents.

mod file;
mod hubness;
mod network;
mod projection;
mod sound;
mod stored;
mod tower;

use rayon::prelude::*;
use std::sync::Arc;

use crate::device::DeviceError;
use crate::latents::Latents;

pub use crate::nn::AdapterKind;
pub use file::SpaceError;
pub(crate) use hubness::Hubness;
pub(crate) use network::Network;
pub(crate) use projection::{Head, Input, Kernel, Projection, Similarity, product, unit};
pub(crate) use tower::Tower;
pub use tower::TowerSpec;

/// A space, whatever method fitted it.
pub struct Space {
    towers: Vec<Inlet>,
    pub(crate) map: Map,
    /// The term against items that are near to everything, in coordinates of its own.
    hubness: Option<Hubness>,
}

/// What a tower of a space takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inlet {
    /// The tower's name.
    pub name: String,
    /// Values per latent.
    pub width: usize,
}

/// The maps of all towers, in their order.
#[derive(Clone)]
pub(crate) enum Map {
    /// Trained adapters.
    Network(Arc<Network>),
    /// Maps in closed form.
    Projections(Vec<Projection>),
    /// Several, whose embeddings stand side by side.
    Joint(Vec<Part>),
}

/// A part of a joint map.
#[derive(Clone)]
pub(crate) struct Part {
    /// The factor of its embeddings. The squares of all parts' weights sum to 1.
    pub(crate) weight: f32,
    pub(crate) map: Map,
}

/// A tower's map at work.
enum Embedder<'a> {
    Network(Box<network::Embedder<'a>>),
    Projection(&'a Projection),
    Joint(Vec<(f32, usize, Self)>),
}

/// Latents that pass through a tower at once.
const CHUNK: usize = 512;

impl Map {
    /// Dimensions of what it maps to.
    fn width(&self) -> usize {
        match self {
            Self::Network(network) => network.width,
            Self::Projections(projections) => projections.first().map_or(0, Projection::width),
            Self::Joint(parts) => parts.iter().map(|part| part.map.width()).sum(),
        }
    }

    /// The weighted maps side by side, as one. Weights need not be normalised.
    pub(crate) fn joint(weighted: Vec<(f32, Self)>) -> Self {
        let length = weighted.iter().map(|(weight, _)| weight * weight).sum::<f32>().sqrt();
        let mut parts = Vec::with_capacity(weighted.len());
        for (weight, map) in weighted {
            let weight = weight / length;
            match map {
                Self::Joint(inner) => {
                    parts.extend(inner.into_iter().map(|part| Part { weight: weight * part.weight, ..part }));
                }
                map => parts.push(Part { weight, map }),
            }
        }
        Self::Joint(parts)
    }

    /// True if a tower takes latents of length 1 for what they are; none if nobody can tell.
    fn takes_length_1(&self, tower: usize) -> Option<bool> {
        match self {
            Self::Network(network) => network.fronts.get(tower).map(|front| front.input.takes_length_1()),
            Self::Projections(projections) => Some(projections[tower].input.takes_length_1()),
            Self::Joint(parts) => {
                let parts = parts.iter().map(|part| part.map.takes_length_1(tower));
                parts.reduce(|one, other| match (one, other) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (one, other) => one.and(other),
                })?
            }
        }
    }

    fn embedder<'a>(&'a self, tower: usize, rows: usize) -> Embedder<'a> {
        match self {
            Self::Network(network) => Embedder::Network(Box::new(network.embedder(tower, rows))),
            Self::Projections(projections) => Embedder::Projection(&projections[tower]),
            Self::Joint(parts) => {
                let part = |part: &'a Part| (part.weight, part.map.width(), part.map.embedder(tower, rows));
                Embedder::Joint(parts.iter().map(part).collect())
            }
        }
    }
}

impl Embedder<'_> {
    /// The embeddings, of length 1, of some rows of latents.
    fn embed(&self, latents: &[f32]) -> Result<Vec<f32>, DeviceError> {
        match self {
            Self::Network(network) => network.embed(latents),
            Self::Projection(projection) => Ok(projection.embed(latents)),
            Self::Joint(parts) => {
                let whole: usize = parts.iter().map(|(_, width, _)| width).sum();
                let mut out = Vec::new();
                let mut first = 0;
                for (weight, width, part) in parts {
                    let embedded = part.embed(latents)?;
                    out.resize(embedded.len() / width * whole, 0.0);
                    for (row, values) in out.chunks_exact_mut(whole).zip(embedded.chunks_exact(*width)) {
                        row[first..first + width].iter_mut().zip(values).for_each(|(out, value)| *out = weight * value);
                    }
                    first += width;
                }
                Ok(out)
            }
        }
    }
}

impl Space {
    /// The space of a network.
    pub(crate) fn of_network(network: Arc<Network>) -> Self {
        let inlet =
            |(at, tower): (usize, &Tower)| Inlet { name: tower.spec.name.clone(), width: network.latent_width(at) };
        let towers = network.towers.iter().enumerate().map(inlet).collect();
        Self { towers, map: Map::Network(network), hubness: None }
    }

    /// The space of a map of these towers.
    pub(crate) fn new(towers: Vec<Inlet>, map: Map) -> Self {
        Self { towers, map, hubness: None }
    }

    /// True if a tower takes latents of length 1 for what they are; none if nobody can tell.
    pub(crate) fn takes_length_1(&self, tower: usize) -> Option<bool> {
        self.map.takes_length_1(tower)
    }

    /// Its map, without the term against hubs.
    pub(crate) fn into_map(self) -> Map {
        self.map
    }

    pub(crate) fn map(&self) -> &Map {
        &self.map
    }

    /// The same towers and term against hubs with another map of the same width.
    pub(crate) fn with_map(&self, map: Map) -> Self {
        Self { towers: self.towers.clone(), map, hubness: self.hubness.clone() }
    }

    /// Adds a term against hubs.
    pub(crate) fn with_hubness(mut self, hubness: Hubness) -> Self {
        self.hubness = Some(hubness);
        self
    }

    /// The towers, in the recipe's order.
    pub fn towers(&self) -> impl Iterator<Item = &Inlet> {
        self.towers.iter()
    }

    /// Values of an embedding.
    pub fn width(&self) -> usize {
        self.map.width() + self.hubness.as_ref().map_or(0, |hubness| hubness.width())
    }

    /// The first values of an embedding, which are of length 1 and compare items of one tower with one another. The
    /// rest compares those of different towers.
    pub fn shared(&self) -> usize {
        self.map.width()
    }

    /// An embedding, of any tower, as a query whose inner products with items of `tower` are scores.
    pub fn query(&self, embedding: &[f32], tower: usize) -> Vec<f32> {
        let mut query = embedding.to_vec();
        if let Some(hubness) = &self.hubness {
            hubness.direct(&mut query, tower);
        }
        query
    }

    /// The greatest score that there can be.
    pub fn most_score(&self) -> f32 {
        1.0 + 2.0 * self.hubness.as_ref().map_or(0.0, |hubness| hubness.alpha)
    }

    /// The embeddings (`rows x width`) of all `latents` through tower `tower`. Their inner
    /// products with those of another tower are scores; see [`Space::query`].
    pub fn embed(&self, tower: usize, latents: &dyn Latents) -> Result<Vec<f32>, DeviceError> {
        let mut all = Vec::with_capacity(latents.len() * self.width());
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
        let Inlet { name, width } = &self.towers[tower];
        assert_eq!(latents.width(), *width, "latents of another width than tower `{name}`");
        let rows = CHUNK.min(latents.len());
        if rows == 0 {
            return Ok(());
        }
        let embedder = self.map.embedder(tower, rows);
        let mut values = vec![0.0; rows * width];
        for first in (0..latents.len()).step_by(rows) {
            let values = &mut values[..rows.min(latents.len() - first) * width];
            let copied = values.par_chunks_mut(*width).enumerate().with_min_len(16);
            copied.for_each(|(at, out)| latents.copy_row(first + at, out));
            let embeddings = embedder.embed(values)?;
            if embeddings.iter().any(|value| !value.is_finite()) {
                return Err(DeviceError::Infinite { tower: name.clone() }.into());
            }
            match &self.hubness {
                None => sink(&embeddings)?,
                Some(hubness) => sink(&hubness.extend(tower, &embeddings))?,
            }
        }
        Ok(())
    }
}
