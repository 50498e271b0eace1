//! Fitting a recipe: encode missing items, then make a space by the recipe's method.

mod plan;
mod solve;
mod train;
mod watch;

use serde::Serialize;
use std::path::Path;

use super::model::digest;
use super::towers::Towers;
use super::{Error, Session};
use crate::config::Recipe;

use crate::device::{self, DeviceChoice, KernelTime};
use crate::fit::fusemix::{Options, Outcome};
use crate::run::{RunFolder, RunInfo, Seen};
use crate::space::Space;

pub(super) use plan::Plan;

use plan::MethodOptions;

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
        let plan = Plan::new(recipe)?;
        let towers = Towers::new(self, recipe, None);
        plan.check(&towers)?;
        let device = device::open(how.device, how.profile)?;
        let resume = how.existing == Existing::Resume;
        let folder = match resume {
            true => RunFolder::resume(out)?,
            false => RunFolder::create(out, how.existing == Existing::Overwrite)?,
        };
        match &plan.options {
            MethodOptions::Fusemix(options) => self.train(&plan, options, &towers, device, folder, how),
            MethodOptions::ClosedForm(method) => self.solve(&plan, method, &towers, folder, how),
        }
    }
}

/// Checks the options of the recipe's method, as far as that needs no data.
pub fn check_options(recipe: &Recipe) -> Result<(), Error> {
    match MethodOptions::of(recipe)?.0 {
        MethodOptions::Fusemix(options) => {
            let many = options.resolve(&[(100_000, 1.0)]).map(drop);
            many.map_err(|error| recipe.error_at_option(error.key, error.to_string()).into())
        }
        MethodOptions::ClosedForm(_) => Ok(()),
    }
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

fn toml(plan: &Plan<'_>, options: &impl Serialize) -> String {
    plan.recipe.to_toml(options, &plan.hubs).expect("numbers, names and paths are TOML")
}

fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("numbers and names are JSON")
}
