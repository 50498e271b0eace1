//! The beginning of a training: random adapters, or a fit in closed form that it goes on from.
//!
//! From a closed form, the adapters take its whitened coordinates c (r values) instead of latents, with one value more
//! that makes the mean of all zero, so that a LayerNorm only scales them. A block adds nothing at first, and the head
//! has the directions of the closed form: before the first step, scores are those of the closed form.

use faer::Mat;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;

use crate::fit::canonical::Blocks;
use crate::fit::cca::{CcaOptions, Spectra};
use crate::fit::coordinates::{Coordinates, chunks};
use crate::fit::kernel_cca::{self, KernelCcaOptions, Kernels};
use crate::fit::problem::copied;
use crate::fit::{FitError, PairSet, Problem};
use crate::latents::{Dense, Latents};
use crate::nn::Source;
use crate::space::{Projection, TowerSpec};

/// What a training begins from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Start {
    /// Random adapters.
    #[default]
    Random,
    /// Regularised CCA.
    Cca,
    /// Kernel CCA.
    KernelCca,
}

/// A fit in closed form to go on from.
#[derive(Clone)]
pub struct Begun {
    /// Of each tower, the map of its latents to what its adapter takes.
    pub(super) fronts: Vec<Projection>,
    /// Of each tower by name, `shared x inputs`.
    pub(super) heads: HashMap<String, Vec<f32>>,
    /// The towers in their order.
    pub(super) names: Vec<String>,
    pub(super) shared: usize,
    /// The pairs as the adapters see them, once they are seen.
    pub(super) seen: Vec<PairSet>,
}

impl Start {
    /// The fit to go on from, into at most `width` dimensions; none for random adapters.
    pub fn begin(self, problem: &Problem<'_>, width: usize) -> Result<Option<Begun>, FitError> {
        let towers: Vec<Coordinates> = match self {
            Self::Random => return Ok(None),
            Self::Cca => {
                let options = CcaOptions::default().resolve()?;
                let spectra = Spectra::new(problem, options.standard)?;
                (0..problem.towers.len()).map(|tower| spectra.whitened(tower, options.rho)).collect()
            }
            Self::KernelCca => {
                let options = KernelCcaOptions::default().resolve()?;
                kernel_cca::coordinates(&Kernels::new(problem, &options)?, &options)
            }
        };
        let directions = Blocks::new(problem, &towers)?.canonical(width, 1.0)?;
        let shared = directions.first().map_or(0, Mat::ncols);
        let front = |tower: &Coordinates| {
            let rank = tower.rank();
            let padded = Mat::from_fn(rank, rank + 1, |row, column| match column {
                column if column == rank => -1.0,
                column => f64::from(u8::from(column == row)),
            });
            tower.projection(&padded, &[])
        };
        let head = |directions: &Mat<f64>| -> Vec<f32> {
            let row = |column: usize| directions.col(column).iter().map(|value| *value as f32).chain([0.0]);
            (0..shared).flat_map(row).collect()
        };
        let names: Vec<String> = problem.towers.iter().map(|tower| tower.name.clone()).collect();
        Ok(Some(Begun {
            fronts: towers.iter().map(front).collect(),
            heads: names.iter().cloned().zip(directions.iter().map(head)).collect(),
            names,
            shared,
            seen: Vec::new(),
        }))
    }
}

impl Begun {
    pub(super) fn fronts(&self) -> Vec<Projection> {
        self.fronts.clone()
    }

    /// The width of the shared space.
    pub fn shared(&self) -> usize {
        self.shared
    }

    /// The towers as the adapters see them.
    pub(super) fn towers(&self, towers: Vec<TowerSpec>) -> Vec<TowerSpec> {
        towers.into_iter().zip(&self.fronts).map(|(tower, front)| TowerSpec { width: front.width(), ..tower }).collect()
    }

    /// Sees the pairs as the adapters do, which a training needs.
    pub fn see(mut self, problem: &Problem<'_>) -> Result<Self, FitError> {
        let side = |set: &PairSet, side: usize| -> Result<Arc<dyn Latents>, FitError> {
            let (latents, front) = (&*set.latents[side], &self.fronts[set.towers[side]]);
            let mut all = Vec::with_capacity(latents.len() * front.width());
            for rows in chunks(latents.len()) {
                problem.go_on()?;
                all.extend(front.map(&copied(latents, rows)));
            }
            Ok(Arc::new(Dense::new(all, front.width())))
        };
        let mapped = |set: &PairSet| Ok(PairSet { latents: [side(set, 0)?, side(set, 1)?], ..set.clone() });
        self.seen = problem.sets.iter().map(mapped).collect::<Result<_, FitError>>()?;
        Ok(self)
    }

    /// The pairs as the adapters see them.
    pub(super) fn seen(&self) -> &[PairSet] {
        &self.seen
    }

    /// The map of a tower's latents to what its adapter takes.
    pub(super) fn front(&self, tower: usize) -> &Projection {
        &self.fronts[tower]
    }

    /// The initial values of adapters, of which the others come from `fresh`.
    pub(super) fn source<'a>(&'a self, fresh: &'a mut dyn Source) -> impl Source + 'a {
        Going { begun: self, fresh, tower: String::new() }
    }
}

/// The initial values of adapters that go on from a closed form.
struct Going<'a> {
    begun: &'a Begun,
    fresh: &'a mut dyn Source,
    tower: String,
}

impl Source for Going<'_> {
    fn begin(&mut self, tower: &str) {
        self.tower = tower.to_owned();
        self.fresh.begin(tower);
    }

    fn uniform(&mut self, name: &str, shape: &[usize], inputs: usize) -> Vec<f32> {
        let fresh = self.fresh.uniform(name, shape, inputs);
        match (name, self.begun.heads.get(&self.tower)) {
            ("head.weight", Some(head)) => head.clone(),
            ("head.bias", Some(_)) => vec![0.0; fresh.len()],
            (name, Some(_)) if name.contains(".down.") => vec![0.0; fresh.len()],
            _ => fresh,
        }
    }

    fn constant(&mut self, name: &str, shape: &[usize], value: f32) -> Vec<f32> {
        self.fresh.constant(name, shape, value)
    }
}
