//! `fusemix train`: encode missing items, then train.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::{Cli, exit, foretell, print, profile};
use crate::config::{Method, Recipe};
use crate::device::DeviceChoice;
use crate::fit::auto::Budget;
use crate::fit::fusemix::Outcome;
use crate::session::{Existing, FitOptions, Fitted, Trained};
use crate::wording::count;

/// Encode missing items, then train adapters into one shared space.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The recipe: towers, pairs, training options
    recipe: PathBuf,
    /// The folder for adapters, metrics and the resolved recipe
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// The seed of initial weights, pair order, mixing and dropout [default: 0, or that of the resumed training]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Replace the run in --out
    #[arg(long)]
    overwrite: bool,
    /// Resume the training in --out from its last checkpoint
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The time for choosing a method, with `method = "auto"`: 90s, 5m, 1h [default: as in the recipe, or 90s]
    #[arg(long, value_name = "TIME")]
    budget: Option<Budget>,
    /// Print the time that the device spent on each kernel
    #[arg(long)]
    profile: bool,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { recipe, out, device, seed, overwrite, resume, dry_run, budget, profile: profiled } = arguments;
    let recipe = Recipe::read(&recipe)?;
    if dry_run {
        return foretell::columns(cli, &cli.session.forecast_fit(&recipe)?, None);
    }
    let existing = match (overwrite, resume) {
        (true, _) => Existing::Overwrite,
        (_, true) => Existing::Resume,
        _ => Existing::Keep,
    };
    let fitted = cli.session.fit(&recipe, &out, &FitOptions { device, seed, existing, profile: profiled, budget })?;
    let Fitted { info, dropped, recall, seconds, training, choice } = &fitted;
    let on_validation =
        recall.map_or(String::new(), |recall| format!(", mean of R@1, 5, 10 on the validation pairs {recall:.1}%"));
    let Some(training) = training else {
        if cli.json {
            print::json(&json!({"run": out, "method": info.method, "device": info.device, "pairs": info.pairs,
                    "dropped": dropped, "validation_mean_recall": recall, "seconds": seconds, "choice": choice}));
        } else if info.method == Method::Identity {
            say!("{}: nothing to fit: the towers are in one space", out.display());
        } else {
            let (run, pairs) = (out.display(), count(info.pairs, "pair"));
            say!("{run}: {} of {pairs} in {seconds:.1} s{on_validation}", info.method.name());
        }
        return Ok(0);
    };
    let Trained { outcome, steps, planned, worked, options, loss, kept_recall, kernels, .. } = training;
    match outcome {
        Outcome::Stopped(done) => {
            note!("stopped after {done} of {planned} steps; resume with `--resume`");
            return Ok(exit::STOPPED);
        }
        Outcome::Ended(done) => {
            note!("stopped early after {done} of {planned} steps: validation recall stopped improving");
        }
        Outcome::Finished => {}
    }
    if profiled {
        profile::print(kernels, (*worked).max(1));
    }
    let loss = loss.unwrap_or(f32::NAN);
    if cli.json {
        let kernels = profiled.then(|| profile::to_json(kernels, (*worked).max(1)));
        print::json(&json!({"run": out, "method": info.method, "device": info.device, "seed": info.seed,
                "pairs": info.pairs, "dropped": dropped, "steps": steps, "loss": loss,
                "validation_mean_recall": recall, "kept_recall": kept_recall, "seconds": seconds,
                "options": options, "kernels": kernels, "choice": choice}));
    } else {
        let kept = kept_recall.map_or(String::new(), |kept| format!(", best adapters kept with {kept:.1}%"));
        let run = out.display();
        say!("{run}: {} in {seconds:.1} s, loss {loss:.3}{on_validation}{kept}", count(*steps, "step"));
    }
    Ok(0)
}
