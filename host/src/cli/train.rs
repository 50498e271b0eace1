//! `fusemix train`: encode what is missing, then train.

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::exit;
use super::profile;
use super::progress::Meter;
use super::session::Session;
use super::towers::Towers;
use super::trained::held_out;
use crate::dataset::{DataError, DataFile};
use crate::device::{self, DeviceChoice};
use crate::eval::{Retrieval, mean_recall};
use crate::fusion::{
    AdapterKind, Checkpoints, EpochMetrics, Fusion, Observer, OptionError, Options, Outcome, PairSet, TowerSpec,
    TrainError, Trainer,
};
use crate::pairs::{HeldOut, Paired, pair};
use crate::plugin::Services;
use crate::recipe::{self, PairsEntry, Recipe};
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
    /// What the adapters' beginnings, the order of the pairs, mixing and dropout follow from [default: 0, or that of the
    /// training that is resumed]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Replace the run that --out holds
    #[arg(long)]
    overwrite: bool,
    /// Go on with the training in --out where its last checkpoint is
    #[arg(long, conflicts_with = "overwrite")]
    resume: bool,
    /// Say where the device's time went
    #[arg(long)]
    profile: bool,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let recipe = Recipe::read(&arguments.recipe)?;
    let files = recipe.pairs.iter().map(Files::open).collect::<Result<Vec<_>, _>>()?;
    // With the rows that there may be: mistakes in [train] show before anything is paid for.
    let rows: Vec<(usize, f32)> =
        recipe.pairs.iter().zip(&files).map(|(entry, files)| (files.rows, entry.weight)).collect();
    let options = recipe.train.resolve(&rows).map_err(|error| located(&recipe, error.into()))?;
    if let Some((entry, files)) = recipe.pairs.iter().zip(&files).find(|(_, files)| files.rows < 4) {
        let [first, second] = entry.ends.each_ref().map(|end| recipe.towers[end.tower].name.clone());
        return Err(located(&recipe, TrainError::Few { first, second, pairs: files.rows }));
    }
    check_effects(&recipe, &options)?;
    let towers = Towers::new(session, &recipe, None);
    for (index, tower) in recipe.towers.iter().enumerate() {
        towers.modality(index)?;
        let other = towers.described_width(index)?.filter(|&latents| tower.identity && latents != options.width);
        if let Some(latents) = other {
            let (tower, width) = (tower.name.clone(), options.width);
            return Err(located(&recipe, TrainError::Identity { tower, latents, width }));
        }
    }
    let device = device::open(arguments.device, arguments.profile)?;
    let folder = match arguments.resume {
        true => RunFolder::resume(&arguments.out)?,
        false => RunFolder::create(&arguments.out, arguments.overwrite)?,
    };

    let (mut sets, mut validation, mut dropped) = (Vec::new(), Vec::new(), 0);
    let begun_with = arguments.resume.then(|| Checkpoints::begun_with(&folder.checkpoint())).flatten();
    let begun = begun_with.and_then(|training| training.get("seed")?.parse().ok());
    let seed = arguments.seed.or(begun).unwrap_or(0);
    let mut training = BTreeMap::from([("seed".to_owned(), seed.to_string())]);
    for (entry, files) in recipe.pairs.iter().zip(&files) {
        let paired = training_pairs(&towers, entry, &files.train)?;
        dropped += paired.dropped;
        training.insert(format!("pairs {}", sets.len() + 1), paired.digest);
        training.insert(format!("weight of pairs {}", sets.len() + 1), entry.weight.to_string());
        let ends = entry.ends.each_ref().map(|end| end.tower);
        sets.push(PairSet { towers: ends, latents: paired.latents, weight: entry.weight });
        if let Some(file) = &files.validation {
            let pairs = held_out(&towers, &entry.ends, file)?;
            if options.patience > 0 {
                training.insert(format!("validation of pairs {}", sets.len()), pairs.digest.clone());
            }
            validation.push(pairs);
        }
    }
    let infos = (0..recipe.towers.len()).map(|tower| towers.info(tower)).collect::<Result<Vec<_>>>()?;
    let specs = recipe.towers.iter().zip(&infos).map(|(tower, info)| {
        let adapter = if tower.identity { AdapterKind::Identity } else { AdapterKind::Mlp };
        TowerSpec { name: info.name.clone(), width: info.width, adapter, blocks: tower.blocks }
    });
    let sizes: Vec<(usize, f32)> = sets.iter().map(|set| (set.latents[0].len(), set.weight)).collect();
    let pairs: usize = sizes.iter().map(|(pairs, _)| pairs).sum();
    // As they are asked for: what a device makes of them is no other training.
    let asked = recipe.train.resolve(&sizes).map_err(|error| located(&recipe, error.into()))?;
    let mut trainer = Trainer::new(device.clone(), specs.collect(), sets, &recipe.train, seed)
        .map_err(|error| located(&recipe, error))?;
    let steps = trainer.planned_steps();
    if let Some(wanted) = recipe.train.steps.filter(|&wanted| wanted > steps) {
        tracing::warn!("`steps = {wanted}` is more than the epochs have: {steps}");
    }
    if trainer.options().warmup >= steps {
        tracing::warn!("`warmup = {}` is all of the {steps} steps: `lr` is never reached", trainer.options().warmup);
    }
    let resolved = recipe.to_toml(trainer.options())?;
    // What makes no other training of it may change.
    let free = ["memory", "checkpoint_minutes", "checkpoint_steps"];
    training.extend(
        recipe::train_table(&recipe.to_toml(&asked)?).into_iter().filter(|(key, _)| !free.contains(&key.as_str())),
    );
    for (spec, info) in trainer.fusion().towers().zip(&infos) {
        training.insert(format!("tower {}", spec.name), serde_json::to_string(&(spec, info))?);
    }
    let checkpoints = Checkpoints {
        path: folder.checkpoint(),
        every: Duration::from_secs_f32(60.0 * trainer.options().checkpoint_minutes),
        steps: trainer.options().checkpoint_steps,
        training,
    };
    match arguments.resume && trainer.resume(&checkpoints)? {
        true => eprintln!("going on after {} of {steps} steps", trainer.done().0),
        false if arguments.resume => eprintln!("there is no checkpoint: beginning anew"),
        false => checkpoints.remove(),
    }
    eprintln!("training on {}: {pairs} pairs, {steps} steps", device.describe());
    eprintln!("{}", recipe::line(trainer.options()));

    std::fs::write(folder.recipe(), resolved).with_context(|| format!("cannot write {}", folder.recipe().display()))?;
    let (start, begun) = (Instant::now(), trainer.done().0);
    let mut watcher = Watcher::new(session, &folder, validation, steps, trainer.done().1)?;
    let outcome = trainer.run(&mut watcher, Some(&checkpoints));
    watcher.meter.end();
    let last = match outcome {
        Ok(Outcome::Stopped(done)) => {
            eprintln!("stopped after {done} of {steps} steps; `--resume` goes on from there");
            return Ok(exit::STOPPED);
        }
        Ok(Outcome::Ended(done)) => {
            eprintln!("ended after {done} of {steps} steps: the recall on the validation pairs rose no more");
            done
        }
        Ok(Outcome::Finished) => steps,
        Err(error @ TrainError::Diverged { .. }) => return Err(error.into()),
        Err(error) if checkpoints.path.exists() => {
            return Err(
                anyhow::Error::from(error).context("the training failed; `--resume` goes on from its last checkpoint")
            );
        }
        Err(error) => return Err(error.into()),
    };
    trainer.fusion().save(&folder.adapters())?;
    checkpoints.remove();
    let kernels = device.profile().take();
    if arguments.profile {
        profile::print(&kernels, (last - begun).max(1));
    }
    let info = RunInfo {
        fusemix: env!("CARGO_PKG_VERSION").to_owned(),
        seed,
        device: trainer.devices(),
        pairs,
        towers: infos,
    };
    folder.finish(&info)?;

    let (loss, recall) = (watcher.loss.unwrap_or(f32::NAN), watcher.recall);
    let (seconds, kept) = (start.elapsed().as_secs_f64(), trainer.kept_recall());
    if session.json {
        let kernels = arguments.profile.then(|| profile::to_json(&kernels, (last - begun).max(1)));
        say!(
            "{:#}",
            json!({"run": arguments.out, "device": info.device, "seed": info.seed, "pairs": pairs, "dropped": dropped,
                "steps": last, "loss": loss, "validation_mean_recall": recall, "kept_recall": kept, "seconds": seconds,
                "options": trainer.options(), "kernels": kernels})
        );
    } else {
        let recall =
            recall.map_or(String::new(), |recall| format!(", mean of R@1, 5, 10 on the validation pairs {recall:.1}%"));
        let recall = recall + &kept.map_or(String::new(), |kept| format!(", kept from where it was {kept:.1}%"));
        say!("{}: {last} steps in {seconds:.1} s, loss {loss:.3}{recall}", arguments.out.display());
    }
    Ok(0)
}

/// What is asked for and cannot have the effect that it is asked for.
fn check_effects(recipe: &Recipe, options: &Options) -> Result<()> {
    if options.patience > 0 && recipe.pairs.iter().all(|entry| entry.validation.is_none()) {
        let (value, reason) =
            (options.patience.to_string(), "no [[pairs]] has `validation` pairs to look at".to_owned());
        return Err(located(recipe, OptionError { key: "patience", value, reason }.into()));
    }
    if let Some(batch) = recipe.train.batch.filter(|&batch| batch > options.batch) {
        tracing::warn!("`batch = {batch}` draws more pairs than there are: it is {} instead", options.batch);
    }
    Ok(())
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
    /// The step from which this run goes on.
    first: Option<usize>,
    /// Of the last epoch.
    loss: Option<f32>,
    /// Of the last evaluation.
    recall: Option<f64>,
}

impl Watcher {
    /// `epochs` epochs are done: what is known of them stays.
    fn new(
        session: &Session,
        folder: &RunFolder,
        validation: Vec<HeldOut>,
        steps: usize,
        epochs: usize,
    ) -> Result<Self> {
        let path = folder.metrics();
        let metrics = cut_metrics(&path, epochs).with_context(|| format!("cannot write {}", path.display()))?;
        let meter = Meter::new("training".to_owned(), steps, "steps");
        let services = session.services.clone();
        Ok(Self { services, meter, metrics, validation, steps, first: None, loss: None, recall: None })
    }

    /// A line that is on its way to the disk when this returns.
    fn write(&mut self, line: &Value) -> std::io::Result<()> {
        self.metrics.write_all(format!("{line}\n").as_bytes())
    }
}

/// The metrics at `path`, open for more lines behind those of the first `epochs` epochs. These are never out of the file,
/// whenever the program is killed.
fn cut_metrics(path: &Path, epochs: usize) -> std::io::Result<File> {
    let mut file = File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    let mut known = Vec::new();
    file.read_to_end(&mut known)?;
    let of_epoch = |line: &[u8]| serde_json::from_slice::<Value>(line).ok()?["epoch"].as_u64();
    let lines = known.split_inclusive(|&byte| byte == b'\n');
    let kept = lines.take_while(|line| of_epoch(line).is_some_and(|epoch| epoch <= epochs as u64));
    let length = kept.map(<[u8]>::len).sum::<usize>() as u64;
    file.set_len(length)?;
    file.seek(SeekFrom::Start(length))?;
    Ok(file)
}

impl Observer for Watcher {
    fn step(&mut self, steps: usize) {
        let loss = self.loss.map_or(String::new(), |loss| format!("loss {loss:.3}"));
        let recall = self.recall.map_or(String::new(), |recall| format!(", validation recall {recall:.1}%"));
        let first = *self.first.get_or_insert(steps - 1);
        self.meter.show(steps, self.steps, steps - first, &(loss + &recall));
    }

    fn epoch(&mut self, metrics: &EpochMetrics) -> Result<(), Box<dyn Error + Send + Sync>> {
        let EpochMetrics { epoch, steps, ref losses, temperature, lr, pairs_per_second } = *metrics;
        let loss = losses.iter().sum::<f32>() / losses.len() as f32;
        self.loss = Some(loss);
        Ok(self.write(&json!({"epoch": epoch, "step": steps, "loss": loss, "temperature": temperature, "lr": lr,
            "pairs_per_second": pairs_per_second}))?)
    }

    fn evaluate(&mut self, epoch: usize, fusion: &Fusion) -> Result<Option<f64>, Box<dyn Error + Send + Sync>> {
        if self.validation.is_empty() {
            return Ok(None);
        }
        let mut found: Vec<Retrieval> = Vec::new();
        for pairs in &self.validation {
            found.extend(pairs.retrieval(fusion)?);
        }
        let recall = mean_recall(&found);
        self.recall = Some(recall);
        self.write(&json!({"epoch": epoch, "mean_recall": recall, "validation": found}))?;
        Ok(Some(recall))
    }

    fn stop(&self) -> bool {
        self.services.should_stop()
    }
}
