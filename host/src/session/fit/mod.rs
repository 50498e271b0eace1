//! Fitting a recipe: encode missing items, then train.

mod plan;
mod watch;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::model::digest;
use super::towers::Towers;
use super::{Error, Event, Session};
use crate::config::{Recipe, train_table};
use crate::device::{self, Device, DeviceChoice, KernelTime};
use crate::fit::fusemix::{Checkpoints, Options, Outcome, TrainError, Trainer};
use crate::run::{RunFolder, RunInfo};
use crate::space::TowerSpec;

pub(super) use plan::Plan;

use plan::Material;
use watch::Watch;

/// What a fit does with a training that is in its folder.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Refuse, and leave it as it is.
    #[default]
    Keep,
    /// Replace it.
    Overwrite,
    /// Go on with it, if it is unfinished.
    Resume,
}

/// Settings of a fit.
#[derive(Clone, Debug, Default)]
pub struct FitOptions {
    /// The device to compute on.
    pub device: DeviceChoice,
    /// The seed of initial weights, pair order, mixing and dropout; if none, 0 or that of the resumed training.
    pub seed: Option<u64>,
    /// What to do with a training that is in the folder.
    pub existing: Existing,
    /// True to time the device's kernels.
    pub profile: bool,
}

/// The result of a fit.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The way it ended; a stopped fit leaves a checkpoint and no run.
    pub outcome: Outcome,
    /// Steps taken by this run and those that it resumed.
    pub steps: usize,
    /// Steps that were planned.
    pub planned: usize,
    /// Steps that this run took.
    pub worked: usize,
    /// The provenance of the run.
    pub info: RunInfo,
    /// Pairs that were left out.
    pub dropped: usize,
    /// The resolved options.
    pub options: Options,
    /// The loss of the last epoch.
    pub loss: Option<f32>,
    /// The last recall on the validation pairs, in percent.
    pub recall: Option<f64>,
    /// The recall of the adapters that are kept, where `patience` chooses them.
    pub kept_recall: Option<f64>,
    /// False if the loss, and the recall on validation pairs if there are any, ended where guessing ends.
    pub learned: bool,
    /// Seconds of training.
    pub seconds: f64,
    /// The time that the device spent on each kernel.
    pub kernels: Vec<(&'static str, KernelTime)>,
}

impl Session {
    /// Fits a recipe and leaves the run in `out`.
    pub fn fit(&self, recipe: &Recipe, out: &Path, how: &FitOptions) -> Result<Fitted, Error> {
        let plan = Plan::new(recipe)?;
        let towers = Towers::new(self, recipe, None);
        plan.check(&towers)?;
        let device = device::open(how.device, how.profile)?;
        let resume = how.existing == Existing::Resume;
        let folder = match resume {
            true => RunFolder::resume(out)?,
            false => RunFolder::create(out, how.existing == Existing::Overwrite)?,
        };
        let begun_with = resume.then(|| Checkpoints::begun_with(&folder.checkpoint())).flatten();
        let begun = begun_with.and_then(|training| training.get("seed")?.parse().ok());
        let seed = how.seed.or(begun).unwrap_or(0);
        let material = plan.material(&towers)?;
        self.train(&plan, material, device, folder, (seed, resume))
    }

    fn train(
        &self,
        plan: &Plan<'_>,
        material: Material,
        device: Arc<dyn Device>,
        folder: RunFolder,
        (seed, resume): (u64, bool),
    ) -> Result<Fitted, Error> {
        let Material { sets, validation, dropped, towers, seen, mut identity } = material;
        let located = |error| plan.located(error);
        let sizes: Vec<(usize, f32)> = sets.iter().map(|set| (set.len(), set.weight)).collect();
        let pairs: usize = sizes.iter().map(|(pairs, _)| pairs).sum();
        // As they are asked for: what a device makes of them is no other training.
        let asked = plan.options.resolve(&sizes).map_err(|error| located(error.into()))?;
        let specs = plan.recipe.towers.iter().zip(&towers).map(|(tower, info)| TowerSpec {
            name: info.name.clone(),
            width: info.width,
            adapter: tower.adapter,
            blocks: tower.blocks,
        });
        let mut trainer = Trainer::new(device.clone(), specs.collect(), sets, &plan.options, seed).map_err(located)?;
        let planned = trainer.planned_steps();
        plan.warn(trainer.options(), planned);
        let resolved = toml(plan.recipe, trainer.options());
        identity.insert("seed".to_owned(), seed.to_string());
        // What makes no other training of it may change.
        let free = ["memory", "checkpoint_minutes", "checkpoint_steps"];
        let asked = train_table(&toml(plan.recipe, &asked));
        identity.extend(asked.into_iter().filter(|(key, _)| !free.contains(&key.as_str())));
        for (spec, info) in trainer.towers().zip(&towers) {
            identity.insert(format!("tower {}", spec.name), json(&(spec, info)));
        }
        let checkpoints = Checkpoints {
            path: folder.checkpoint(),
            every: Duration::from_secs_f32(60.0 * trainer.options().checkpoint_minutes),
            steps: trainer.options().checkpoint_steps,
            training: identity,
        };
        let resumed = match resume && trainer.resume(&checkpoints)? {
            true => Some(trainer.done().0),
            false if resume => Some(0),
            false => {
                checkpoints.remove();
                None
            }
        };
        checkpoints.begin().map_err(TrainError::from)?;
        let (described, options) = (device.describe(), trainer.options());
        self.see(Event::Begins { device: &described, pairs, steps: planned, resumed, options });
        let recipe = folder.recipe();
        std::fs::write(&recipe, resolved).map_err(|cause| Error::Write { path: recipe, cause })?;
        let (start, begun) = (Instant::now(), trainer.done().0);
        let mut watch = Watch::new(self, &folder, validation, planned, trainer.done().1)?;
        let outcome = trainer.run(&mut watch, Some(&checkpoints));
        self.see(Event::Ended);
        let outcome = outcome.map_err(|error| match error {
            TrainError::Diverged { .. } => error.into(),
            error if checkpoints.path.exists() => Error::Resumable(error),
            error => error.into(),
        })?;
        let learned = watch.learned(trainer.chance_loss());
        if !learned && !matches!(outcome, Outcome::Stopped(_)) {
            tracing::warn!(
                "nothing was learned: the loss ended at {:.3}, and guessing gives {:.3}; lower `lr` in [train], take \
                 more epochs, and check that the items of a row belong together",
                watch.loss.unwrap_or(f32::NAN),
                trainer.chance_loss()
            );
        }
        let steps = match outcome {
            Outcome::Finished => planned,
            Outcome::Ended(done) | Outcome::Stopped(done) => done,
        };
        let (fusemix, device_names) = (env!("CARGO_PKG_VERSION").to_owned(), trainer.devices());
        let mut info = RunInfo { fusemix, seed, device: device_names, pairs, towers, adapters: None, seen: None };
        if !matches!(outcome, Outcome::Stopped(_)) {
            let path = folder.adapters();
            trainer.space().save(&path)?;
            let of_seen = folder.seen();
            seen.save(&of_seen).map_err(|cause| Error::Write { path: of_seen.clone(), cause })?;
            info.seen = Some(digest(&of_seen).map_err(|cause| Error::Read { path: of_seen, cause })?);
            info.adapters = Some(digest(&path).map_err(|cause| Error::Read { path, cause })?);
            folder.finish(&info)?;
        }
        Ok(Fitted {
            outcome,
            steps,
            planned,
            worked: steps - begun,
            info,
            dropped,
            options: trainer.options().clone(),
            loss: watch.loss,
            recall: watch.recall,
            kept_recall: trainer.kept_recall(),
            learned,
            seconds: start.elapsed().as_secs_f64(),
            kernels: device.profile().take(),
        })
    }
}

fn toml(recipe: &Recipe, options: &Options) -> String {
    recipe.to_toml(options).expect("numbers, names and paths are TOML")
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("numbers and names are JSON")
}
