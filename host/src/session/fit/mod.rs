//! Fitting a recipe: encode missing items, then make a space by the recipe's method.

mod as_is;
mod estimate;
mod kept;
mod near;
mod options;
mod overlap;
mod plan;
mod solve;
mod subset;
mod train;
mod watch;

use serde::Serialize;
use std::path::Path;

use super::model::digest;
use super::towers::Towers;
use super::{Error, Session};
use crate::config::{Method, Recipe};

use crate::device::{self, DeviceChoice, KernelTime};
use crate::fit::auto::{Budget, Choice};
use crate::fit::fusemix::{Checkpoints, Options, Outcome};
use crate::run::{RunFolder, RunInfo, Seen};
use crate::space::Space;

pub(super) use estimate::Steps;
pub use options::check_options;
pub(super) use options::takes_unpaired;
pub(super) use plan::Plan;

use kept::Kept;
use options::MethodOptions;

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
    /// The budget of a choice among methods, instead of the recipe's.
    pub budget: Option<Budget>,
}

/// The result of a fit.
#[derive(Clone, Debug)]
pub struct Fitted {
    /// The provenance of the run.
    pub info: RunInfo,
    /// Pairs that were left out.
    pub dropped: usize,
    /// The last recall on the validation pairs, in percent.
    pub recall: Option<f64>,
    /// Seconds of fitting.
    pub seconds: f64,
    /// What only a training has; none of a closed form.
    pub training: Option<Trained>,
    /// The choice of the method; none if the recipe chose it.
    pub choice: Option<Choice>,
}

/// The result of a training.
#[derive(Clone, Debug)]
pub struct Trained {
    /// The way it ended; a stopped training leaves a checkpoint and no run.
    pub outcome: Outcome,
    /// Steps taken by this run and those that it resumed.
    pub steps: usize,
    /// Steps that were planned.
    pub planned: usize,
    /// Steps that this run took.
    pub worked: usize,
    /// The resolved options.
    pub options: Options,
    /// The loss of the last epoch.
    pub loss: Option<f32>,
    /// The recall of the adapters that are kept, where `patience` chooses them.
    pub kept_recall: Option<f64>,
    /// False if the loss, and the recall on validation pairs if there are any, ended where guessing ends.
    pub learned: bool,
    /// The time that the device spent on each kernel.
    pub kernels: Vec<(&'static str, KernelTime)>,
}

impl Session {
    /// Fits a recipe and leaves the run in `out`.
    pub fn fit(&self, recipe: &Recipe, out: &Path, how: &FitOptions) -> Result<Fitted, Error> {
        let plan = Plan::new(self, recipe)?;
        let towers = Towers::new(self, recipe, None);
        plan.check(&towers)?;
        if how.budget.is_some() && recipe.method != Method::Auto {
            tracing::warn!("`--budget` says nothing to `method = \"{}\"`, which is not chosen", recipe.method.name());
        }
        let device = device::open(how.device, how.profile)?;
        let resume = how.existing == Existing::Resume;
        let folder = match resume {
            true => RunFolder::resume(out)?,
            false => RunFolder::create(out, how.existing == Existing::Overwrite)?,
        };
        if !resume {
            // What an earlier fit that was stopped was chosen from.
            let _ = std::fs::remove_file(folder.choice());
        }
        let begun = if resume { begun(&plan, &folder)? } else { None };
        if recipe.method == Method::Identity {
            return self.leave_as_is(&plan, &towers, folder);
        }
        let trains = matches!(begun.as_ref().unwrap_or(&plan.options), MethodOptions::Fusemix(_));
        if resume && !trains && Checkpoints::exist(&folder.checkpoint()) {
            return Err(Error::OtherMethod { path: out.to_owned(), method: recipe.method.name() });
        }
        match begun.as_ref().unwrap_or(&plan.options) {
            MethodOptions::Fusemix(options) => {
                let material = plan.material(&towers)?;
                let kept = begun.as_ref().and_then(|_| Kept::read(&folder)?.choice(&folder));
                Ok(Fitted { choice: kept, ..self.train(&plan, options, material, device, folder, how)? })
            }
            options => self.solve(&plan, options, &towers, device, folder, how),
        }
    }
}

/// The options of the training in a folder that a choice has begun: it is not made again.
fn begun(plan: &Plan<'_>, folder: &RunFolder) -> Result<Option<MethodOptions>, Error> {
    if plan.recipe.method != Method::Auto || !Checkpoints::exist(&folder.checkpoint()) {
        return Ok(None);
    }
    let resolved = Recipe::read(&folder.recipe())?;
    Ok((resolved.method == Method::Fusemix).then_some(MethodOptions::of(&resolved)?.0))
}

/// Leaves a space and its provenance in the folder, which is a run then.
fn leave(folder: RunFolder, space: &Space, seen: &Seen, info: &mut RunInfo) -> Result<(), Error> {
    let path = folder.adapters();
    space.save(&path)?;
    let of_seen = folder.seen();
    seen.save(&of_seen).map_err(|cause| Error::Write { path: of_seen.clone(), cause })?;
    info.seen = Some(digest(&of_seen).map_err(|cause| Error::Read { path: of_seen, cause })?);
    info.adapters = Some(digest(&path).map_err(|cause| Error::Read { path, cause })?);
    Ok(folder.finish(info)?)
}

fn toml(plan: &Plan<'_>, method: Method, options: &impl Serialize) -> String {
    plan.recipe.to_toml(method, options, &plan.hubs).expect("numbers, names and paths are TOML")
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and names are JSON")
}
