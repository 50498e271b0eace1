//! A training with FuseMix, from its pairs to a run.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::plan::{Material, Plan};
use super::solve::{begun_seed, stopped};
use super::watch::Watch;
use super::{Existing, FitOptions, Fitted, Trained, json, leave, toml};
use crate::config::{Method, train_table};
use crate::device::Device;
use crate::fit::fusemix::{
    Begun, Checkpoints, Extras, Forms, Options, Outcome, Precision, TrainError, TrainOptions, Trainer, Unpaired,
};
use crate::fit::{PairSet, Problem, against_hubs};
use crate::run::{RunFolder, RunInfo, TowerInfo};
use crate::session::towers::extraordinary;
use crate::session::{Error, Event, Session};
use crate::space::{Inlet, TowerSpec};

impl Session {
    /// Trains adapters, or goes on with a training.
    pub(super) fn train(
        &self,
        plan: &Plan<'_>,
        chosen: &TrainOptions,
        material: Material,
        device: Arc<dyn Device>,
        folder: RunFolder,
        how: &FitOptions,
    ) -> Result<Fitted, Error> {
        let resume = how.existing == Existing::Resume;
        let seed = how.seed.or_else(|| begun_seed(&folder, how)).unwrap_or(0);
        let Material { sets, unpaired, validation, dropped, towers, seen, mut identity } = material;
        let located = |error| plan.located(error);
        let pairs: usize = sets.iter().map(PairSet::len).sum();
        // As they are asked for: what a device makes of them is no other training.
        let mut asked = chosen.resolve(&chosen.sizes(&sets)).map_err(|error| located(error.into()))?;
        let specs = plan.recipe.towers.iter().zip(&towers).map(|(tower, info)| TowerSpec {
            name: info.name.clone(),
            width: info.width,
            adapter: tower.adapter,
            blocks: tower.blocks,
        });
        let (inlets, fixed): (Vec<Inlet>, _) = (towers.iter().map(TowerInfo::inlet).collect(), plan.fixed());
        let problem = Problem { towers: &inlets, fixed: &fixed, sets: &sets, stop: &|| self.should_stop() };
        // What it began with on one device, it keeps on another.
        let kept = resume.then(|| Checkpoints::precision(&folder.checkpoint())).flatten();
        let in_f32 = kept == Some(Precision::F32) && asked.precision != Precision::F32;
        if in_f32 {
            tracing::warn!(
                "this training began in f32, on a device without fast 16-bit products, and goes on in it; to train in \
                 16 bits, train again with --overwrite"
            );
        }
        let precision = if in_f32 { kept } else { chosen.precision };
        let chosen = &TrainOptions { precision, ..chosen.clone() };
        if !resume && !Checkpoints::exist(&folder.checkpoint()) {
            // Who stops it in the meantime resumes it with this seed.
            Checkpoints::announce(&folder.checkpoint(), seed).map_err(TrainError::from)?;
        }
        let of_towers = |towers: &[TowerInfo]| json(&towers.iter().map(TowerInfo::identity).collect::<Vec<_>>());
        let form = Form {
            made_from: json(&(asked.start, asked.width, &identity, of_towers(&towers))),
            file: Checkpoints::start(&folder.checkpoint()),
            teaches: unpaired.iter().any(Option::is_some),
            resume,
        };
        let forms = form.found(&problem, &asked)?;
        let shared = forms.begun.as_ref().map_or(asked.width, Begun::shared);
        if let Some(width) = chosen.width.filter(|width| *width > shared) {
            self.warn_once(format!(
                "`width = {width}` is more than the closed form has; the shared space has {shared} dimensions"
            ));
        }
        asked.width = shared;
        identity.extend(forms.describe());
        let Forms { begun, teacher } = forms;
        let begun = begun.map(|begun| begun.see(&problem)).transpose().map_err(stopped)?;
        let (specs, unpaired) = (specs.collect(), teacher.map(|teacher| Unpaired::new(unpaired, teacher)));
        let extras = Extras { begun, unpaired };
        let trainer = Trainer::begin(device.clone(), specs, sets.clone(), chosen, seed, &extras);
        let mut trainer = trainer.map_err(located)?;
        let planned = trainer.planned_steps();
        self.warn_of_options(chosen, trainer.options(), planned);
        let resolved = toml(plan, Method::Fusemix, trainer.options());
        identity.insert("seed".to_owned(), seed.to_string());
        // What makes no other training of it may change.
        let free = ["memory", "checkpoint_minutes", "checkpoint_steps"];
        let asked = train_table(&toml(plan, Method::Fusemix, &asked));
        identity.extend(asked.into_iter().filter(|(key, _)| !free.contains(&key.as_str())));
        for (spec, info) in trainer.towers().zip(&towers) {
            identity.insert(format!("tower {}", spec.name), json(&(spec, info.identity())));
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
                checkpoints.remove_steps();
                None
            }
        };
        checkpoints.begin().map_err(TrainError::from)?;
        let (described, options) = (device.describe(), trainer.options());
        self.see(Event::Begins { device: &described, pairs, steps: planned, resumed, options });
        folder.write_recipe(&resolved)?;
        let (start, begun) = (Instant::now(), trainer.done().0);
        let mut watch = Watch::new(self, &folder, validation, planned, trainer.done().1)?;
        let outcome = trainer.run(&mut watch, Some(&checkpoints));
        self.see(Event::Ended);
        let outcome = outcome.map_err(|error| match error {
            TrainError::Diverged { .. } | TrainError::Overflow { .. } => of_latents(error, &problem),
            error if checkpoints.path.exists() => Error::Resumable(error),
            error => error.into(),
        })?;
        let learned = watch.learned(trainer.chance_loss());
        if let (false, Some(guessing)) = (learned, trainer.chance_loss())
            && !matches!(outcome, Outcome::Stopped(_))
        {
            let advice = match oversized(&problem) {
                Some((tower, size)) => format!(
                    "the latents of tower `{tower}` have values of about {size:.0e}: multiply all of them by about \
                     {:.0e}",
                    1.0 / size
                ),
                None => "lower `lr` in [train], take more epochs, and check that the items of a row belong together"
                    .to_owned(),
            };
            tracing::warn!(
                "nothing was learned: the loss ended at {:.3}, and guessing gives {guessing:.3}; {advice}",
                watch.loss.unwrap_or(f32::NAN)
            );
        }
        let steps = match outcome {
            Outcome::Finished => planned,
            Outcome::Ended(done) | Outcome::Stopped(done) => done,
        };
        let (fusemix, device_names) = (crate::VERSION.to_owned(), trainer.devices());
        let method = Method::Fusemix;
        let mut info = RunInfo {
            fusemix,
            method,
            seed,
            device: device_names,
            pairs,
            towers,
            adapters: None,
            anchors: None,
            seen: None,
        };
        if !matches!(outcome, Outcome::Stopped(_)) {
            // Whoever asks for an end now gets the run that is done.
            let problem = Problem { stop: &|| false, ..problem };
            let space = against_hubs(trainer.space(), &problem, plan.hubs.hubness, plan.hubs.neighbours)?;
            leave(folder, &space, &seen, &mut info)?;
        }
        let (recall, seconds) = (watch.recall, start.elapsed().as_secs_f64());
        let training = Trained {
            outcome,
            steps,
            planned,
            worked: steps - begun,
            options: trainer.options().clone(),
            loss: watch.loss,
            kept_recall: trainer.kept_recall(),
            learned,
            kernels: device.profile().take(),
        };
        Ok(Fitted { info, dropped, recall, seconds, training: Some(training), choice: None })
    }
}

/// The closed forms that a training begins with, and the place where they are kept.
struct Form {
    made_from: String,
    file: PathBuf,
    /// True if items without a pair need a teacher.
    teaches: bool,
    resume: bool,
}

impl Form {
    /// Those that the resumed training has kept, or new ones, which are kept.
    fn found(&self, problem: &Problem<'_>, asked: &Options) -> Result<Forms, Error> {
        let stored = if self.resume { Forms::load(&self.file, &self.made_from) } else { None };
        if let Some(stored) = stored {
            return Ok(stored);
        }
        let make = || {
            let teacher = self.teaches.then(|| Unpaired::teacher(problem)).transpose()?;
            Ok(Forms { begun: asked.start.begin(problem, asked.width)?, teacher })
        };
        let forms = make().map_err(stopped)?;
        // Of a training that was there before.
        let _ = std::fs::remove_file(&self.file);
        if forms.begun.is_some() || forms.teacher.is_some() {
            let names: Vec<String> = problem.towers.iter().map(|inlet| inlet.name.clone()).collect();
            let write = |cause| Error::Write { path: self.file.clone(), cause };
            forms.save(&self.file, &names, &self.made_from).map_err(write)?;
        }
        Ok(forms)
    }
}

/// The error of a loss that is not finite, which names latents whose size explains it.
fn of_latents(error: TrainError, problem: &Problem<'_>) -> Error {
    match oversized(problem) {
        Some((tower, size)) => Error::Size { tower: tower.to_owned(), size, cause: error },
        None => error.into(),
    }
}

/// A tower whose latents' values are too far from 1, with their size.
fn oversized<'a>(problem: &Problem<'a>) -> Option<(&'a str, f64)> {
    let mut sides = problem.sets.iter().flat_map(|set| set.towers.iter().zip(&set.latents));
    sides.find_map(|(tower, side)| Some((problem.towers[*tower].name.as_str(), extraordinary(&**side)?)))
}

impl Session {
    /// Warns about options that cannot have their intended effect.
    fn warn_of_options(&self, chosen: &TrainOptions, options: &Options, steps: usize) {
        if let Some(wanted) = chosen.steps.filter(|&wanted| wanted > steps) {
            self.warn_once(format!("`steps = {wanted}` is more than the {steps} steps of all epochs"));
        }
        if options.warmup >= steps {
            let warmup = options.warmup;
            self.warn_once(format!("`warmup = {warmup}` covers all {steps} steps, so `lr` is never reached"));
        }
    }
}
