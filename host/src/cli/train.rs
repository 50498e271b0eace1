//! `fusemix train`: encode what is missing, then train.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::error::Error;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use super::exit;
use super::progress::Meter;
use super::session::Session;
use super::towers::Towers;
use super::trained::held_out;
use crate::dataset::{DataError, DataFile};
use crate::device::{self, DeviceChoice};
use crate::eval::{Retrieval, mean_recall};
use crate::fusion::{AdapterKind, EpochMetrics, Fusion, Observer, Outcome, PairSet, TowerSpec, TrainError, Trainer};
use crate::pairs::{HeldOut, Paired, pair};
use crate::plugin::Services;
use crate::recipe::{PairsEntry, Recipe};
use crate::run::{RunFolder, RunInfo};

/// Encode what is missing, then train adapters into one shared space.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The recipe: towers, pairs, training options
    recipe: PathBuf,
    /// The folder for adapters, metrics and the recipe as resolved
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Where to compute: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What the adapters' beginnings, the order of the pairs, mixing and dropout follow from
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Replace the run that --out holds
    #[arg(long)]
    overwrite: bool,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let recipe = Recipe::read(&arguments.recipe)?;
    let files = recipe.pairs.iter().map(Files::open).collect::<Result<Vec<_>, _>>()?;
    // With the rows that there may be: mistakes in [train] show before anything is paid for.
    let rows = files.iter().map(|files| files.rows).max().unwrap_or(0);
    let options = recipe.train.resolve(rows).map_err(|error| located(&recipe, error.into()))?;
    if let Some((entry, files)) = recipe.pairs.iter().zip(&files).find(|(_, files)| files.rows < 4) {
        let [first, second] = entry.ends.each_ref().map(|end| recipe.towers[end.tower].name.clone());
        return Err(located(&recipe, TrainError::Few { first, second, pairs: files.rows }));
    }
    let towers = Towers::new(session, &recipe, None);
    for (index, tower) in recipe.towers.iter().enumerate() {
        towers.modality(index)?;
        let other = towers.described_width(index)?.filter(|&latents| tower.identity && latents != options.width);
        if let Some(latents) = other {
            let (tower, width) = (tower.name.clone(), options.width);
            return Err(located(&recipe, TrainError::Identity { tower, latents, width }));
        }
    }
    let device = device::open(arguments.device)?;
    let folder = RunFolder::create(&arguments.out, arguments.overwrite)?;

    let (mut sets, mut validation, mut dropped) = (Vec::new(), Vec::new(), 0);
    for (entry, files) in recipe.pairs.iter().zip(&files) {
        let paired = training_pairs(&towers, entry, &files.train)?;
        dropped += paired.dropped;
        sets.push(PairSet { towers: entry.ends.each_ref().map(|end| end.tower), latents: paired.latents });
        if let Some(file) = &files.validation {
            validation.push(held_out(&towers, entry, file)?);
        }
    }
    let infos = (0..recipe.towers.len()).map(|tower| towers.info(tower)).collect::<Result<Vec<_>>>()?;
    let specs = recipe.towers.iter().zip(&infos).map(|(tower, info)| {
        let adapter = if tower.identity { AdapterKind::Identity } else { AdapterKind::Mlp };
        TowerSpec { name: info.name.clone(), width: info.width, adapter }
    });
    let pairs: usize = sets.iter().map(|set| set.latents[0].len()).sum();
    let mut trainer = Trainer::new(device.clone(), specs.collect(), sets, &recipe.train, arguments.seed)
        .map_err(|error| located(&recipe, error))?;
    let steps = trainer.planned_steps();
    eprintln!("training on {}: {pairs} pairs, {steps} steps", device.describe());

    std::fs::write(folder.recipe(), recipe.to_toml(trainer.options())?)
        .with_context(|| format!("cannot write {}", folder.recipe().display()))?;
    let start = Instant::now();
    let mut watcher = Watcher::new(session, &folder, validation, steps)?;
    let outcome = trainer.run(&mut watcher);
    watcher.meter.end();
    if let Outcome::Stopped(done) = outcome? {
        eprintln!("stopped after {done} of {steps} steps; the latents are kept, the training begins anew next time");
        return Ok(exit::STOPPED);
    }
    trainer.fusion().save(&folder.adapters())?;
    let info = RunInfo {
        fusemix: env!("CARGO_PKG_VERSION").to_owned(),
        seed: arguments.seed,
        device: device.describe(),
        pairs,
        towers: infos,
    };
    folder.finish(&info)?;

    let (loss, recall) = (watcher.loss.expect("a training has at least one epoch"), watcher.recall);
    let seconds = start.elapsed().as_secs_f64();
    if session.json {
        println!(
            "{:#}",
            json!({"run": arguments.out, "device": info.device, "seed": info.seed, "pairs": pairs, "dropped": dropped,
                "steps": steps, "loss": loss, "validation_mean_recall": recall, "seconds": seconds})
        );
    } else {
        let recall =
            recall.map_or(String::new(), |recall| format!(", mean of R@1, 5, 10 on the validation pairs {recall:.1}%"));
        println!("{}: {steps} steps in {seconds:.1} s, loss {loss:.3}{recall}", arguments.out.display());
    }
    Ok(0)
}

/// The files of a pair set, opened and with the columns that they must have, before anything is paid for.
struct Files {
    train: DataFile,
    /// Rows of `train`.
    rows: usize,
    validation: Option<DataFile>,
}

impl Files {
    fn open(entry: &PairsEntry) -> Result<Self, DataError> {
        let open = |path: &PathBuf| {
            let file = DataFile::open(path)?;
            let rows = file.paired_rows(entry.ends.each_ref().map(|end| end.column.as_str()))?;
            Ok((file, rows))
        };
        let (train, rows) = open(&entry.train)?;
        let validation = entry.validation.as_ref().map(open).transpose()?.map(|(file, _)| file);
        // Evaluation must not fail after hours of training for a mistake in the recipe.
        entry.test.as_ref().map(open).transpose()?;
        Ok(Self { train, rows, validation })
    }
}

fn training_pairs(towers: &Towers<'_>, entry: &PairsEntry, file: &DataFile) -> Result<Paired> {
    let paired = pair(towers.sides(&entry.ends, file)?);
    let (path, kept) = (file.path().display(), paired.latents[0].len());
    if kept == 0 {
        bail!("{path}: no pair is left to train on: in each, an item has no latent");
    }
    if paired.dropped > 0 {
        eprintln!("{path}: {} of {} pairs are left out: an item has no latent", paired.dropped, kept + paired.dropped);
    }
    Ok(paired)
}

/// An option that is wrong is so in a line of the recipe.
fn located(recipe: &Recipe, error: TrainError) -> anyhow::Error {
    match &error {
        TrainError::Option(option) => recipe.file.error_at(&["train", option.key], error.to_string()).into(),
        TrainError::Identity { tower, .. } => {
            recipe.file.error_at(&["tower", tower, "adapter"], error.to_string()).into()
        }
        TrainError::Few { .. } => recipe.file.error_at(&["pairs"], error.to_string()).into(),
        _ => error.into(),
    }
}

/// Shows the progress, writes metrics.jsonl, evaluates on the validation pairs.
struct Watcher {
    services: Services,
    meter: Meter,
    metrics: File,
    validation: Vec<HeldOut>,
    steps: usize,
    /// Of the last epoch.
    loss: Option<f32>,
    /// Of the last evaluation.
    recall: Option<f64>,
}

impl Watcher {
    fn new(session: &Session, folder: &RunFolder, validation: Vec<HeldOut>, steps: usize) -> Result<Self> {
        let path = folder.metrics();
        let metrics = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
        let meter = Meter::new("training".to_owned(), steps, "steps");
        let services = session.services.clone();
        Ok(Self { services, meter, metrics, validation, steps, loss: None, recall: None })
    }

    /// A line that is on its way to the disk when this returns.
    fn write(&mut self, line: &Value) -> std::io::Result<()> {
        self.metrics.write_all(format!("{line}\n").as_bytes())
    }
}

impl Observer for Watcher {
    fn step(&mut self, steps: usize) {
        let loss = self.loss.map_or(String::new(), |loss| format!("loss {loss:.3}"));
        let recall = self.recall.map_or(String::new(), |recall| format!(", validation recall {recall:.1}%"));
        self.meter.show(steps, self.steps, &(loss + &recall));
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>> {
        let EpochMetrics { epoch, steps, ref losses, temperature, lr, pairs_per_second } = *metrics;
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        self.loss = Some(loss);
        Ok(self.write(&json!({"epoch": epoch, "step": steps, "loss": loss, "temperature": temperature, "lr": lr,
            "pairs_per_second": pairs_per_second}))?)
    }

    fn evaluate(&mut self, epoch: usize, fusion: &Fusion) -> Result<(), Box<dyn Error + Send + Sync>> {
        if self.validation.is_empty() {
            return Ok(());
        }
        let mut found: Vec<Retrieval> = Vec::new();
        for pairs in &self.validation {
            found.extend(pairs.retrieval(fusion)?);
        }
        let recall = mean_recall(&found);
        self.recall = Some(recall);
        Ok(self.write(&json!({"epoch": epoch, "mean_recall": recall, "validation": found}))?)
    }

    fn stop(&self) -> bool {
        self.services.should_stop()
    }
}
