//! A whole training without checkpoints and without anything to look at, as one of several fits.

use std::error::Error;

use super::error::TrainError;
use super::observer::{EpochMetrics, Observer, Outcome};
use super::options::TrainOptions;
use super::train::{Extras, Trainer};
use crate::fit::setting::Engine;
use crate::fit::{FitError, Problem};
use crate::nn::AdapterKind;
use crate::space::{Map, Space, TowerSpec};

/// The map of trained adapters. The shared space is that of the identity towers, if there are some.
pub(in crate::fit) fn fit(problem: &Problem<'_>, options: &TrainOptions, engine: &Engine) -> Result<Map, FitError> {
    let towers = problem.towers.iter().zip(problem.fixed).map(|(tower, fixed)| TowerSpec {
        name: tower.name.clone(),
        width: tower.width,
        adapter: if *fixed { AdapterKind::Identity } else { AdapterKind::Mlp },
        blocks: None,
    });
    let towers: Vec<TowerSpec> = towers.collect();
    let fixed = towers.iter().find(|tower| tower.adapter == AdapterKind::Identity).map(|tower| tower.width);
    let options = TrainOptions { width: fixed.or(options.width), ..options.clone() };
    let resolved = options.resolve(&options.sizes(problem.sets)).map_err(TrainError::from)?;
    let begun = resolved.start.begin(problem, resolved.width)?;
    let begun = begun.map(|begun| begun.see(problem)).transpose()?;
    let (device, sets, extras) = (engine.device.clone(), problem.sets.to_vec(), Extras { begun, unpaired: None });
    let mut trainer = Trainer::begin(device, towers, sets, &options, engine.seed, &extras)?;
    match trainer.run(&mut Quiet(problem), None)? {
        Outcome::Stopped(_) => Err(FitError::Stopped),
        _ => Ok(trainer.space().into_map()),
    }
}

/// An observer that only asks for an end.
struct Quiet<'a>(&'a Problem<'a>);

impl Observer for Quiet<'_> {
    fn step(&mut self, _: usize) {}

    fn epoch(&mut self, _: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>> {
        Ok(())
    }

    fn evaluate(&mut self, _: usize, _: &Space) -> Result<Option<f64>, Box<dyn Error + Send + Sync>> {
        Ok(None)
    }

    fn stop(&self) -> bool {
        (self.0.stop)()
    }
}
