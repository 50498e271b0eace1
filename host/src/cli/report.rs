//! `fusemix report`: a run as one HTML page.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::gallery::gallery;
use super::session::Session;
use super::trained::{Tested, Trained};
use crate::device::DeviceChoice;
use crate::report::Page;
use crate::report::curves::Series;
use crate::run::RunInfo;

/// Write the run's curves, its retrieval on held-out pairs and what those find as one HTML page.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Pairs to show, instead of the recipe's test files
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// The page
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where to compute: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let Arguments { run, data, out, device } = arguments;
    let trained = Trained::open(&run, device)?;
    let write = || format!("cannot write {}", out.display());
    // Opened before the work, and left as it was until the page is whole.
    let folder = out.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    // A page is there to be shown: what the user's mask allows.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(folder).with_context(write)?;
    let towers = trained.towers(session);
    let tested = trained.held_out(&towers, data.as_deref())?;
    let mut retrieval = Vec::new();
    for tested in &tested {
        retrieval.extend(tested.pairs.retrieval(&trained.fusion)?);
    }
    let (loss, recall) = curves(&trained)?;
    let (choice, gallery) = gallery(&trained, &towers, &tested)?;
    let page = Page {
        title: title(&trained.info),
        summary: summary(&trained, &tested),
        loss,
        recall,
        retrieval,
        choice,
        gallery,
    };
    let html = page.html().map_err(|error| anyhow!("the curves cannot be drawn: {error}"))?;
    file.write_all(html.as_bytes()).with_context(write)?;
    file.persist(&out).map_err(|error| error.error).with_context(write)?;
    if session.json {
        say!("{:#}", serde_json::json!({"page": out}));
    } else {
        say!("{}", out.display());
    }
    Ok(0)
}

/// "image (efficientnet) + text (minilm)".
fn title(info: &RunInfo) -> String {
    let tower = |tower: &crate::run::TowerInfo| {
        let encoders: Vec<&str> = tower.encoders.iter().map(|encoder| encoder.name.as_str()).collect();
        let encoders = if encoders.is_empty() { "precomputed".to_owned() } else { encoders.join(", ") };
        format!("{} ({encoders})", tower.name)
    };
    info.towers.iter().map(tower).collect::<Vec<_>>().join(" + ")
}

fn summary(trained: &Trained, tested: &[Tested]) -> String {
    let RunInfo { pairs, seed, device, .. } = &trained.info;
    let count: usize = tested.iter().map(|tested| tested.pairs.matches.len()).sum();
    let mut files: Vec<String> = tested.iter().map(Tested::file_name).collect();
    files.dedup();
    let files = files.join(", ");
    let read = trained.recipe.pairs.iter().flat_map(|entry| [Some(&entry.train), entry.validation.as_ref()]).flatten();
    let read: Vec<PathBuf> = read.filter_map(|path| path.canonicalize().ok()).collect();
    let seen = tested.iter().any(|tested| tested.file.path().canonicalize().is_ok_and(|path| read.contains(&path)));
    let held_out = if seen { "" } else { ", which the training never read" };
    format!(
        "Adapters trained with FuseMix on {pairs} pairs (seed {seed}, {device}); below, {count} pairs of {files}{held_out}."
    )
}

/// A line of metrics.jsonl: one of an epoch, or one of an evaluation.
#[derive(Deserialize)]
struct Metrics {
    epoch: f64,
    loss: Option<f64>,
    mean_recall: Option<f64>,
    #[serde(default)]
    validation: Vec<crate::eval::Retrieval>,
}

fn curves(trained: &Trained) -> Result<(Vec<Series>, Vec<Series>)> {
    let path = trained.folder.metrics();
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let lines: Vec<Metrics> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .with_context(|| format!("{} does not read", path.display()))?;
    let series = |name: String, value: &dyn Fn(&Metrics) -> Option<f64>| Series {
        name,
        points: lines.iter().filter_map(|line| Some((line.epoch, value(line)?))).collect(),
    };
    let loss = vec![series("training".into(), &|line| line.loss)];
    let mut recall = vec![series("mean of R@1, 5, 10".into(), &|line| line.mean_recall)];
    let ways = lines.iter().map(|line| &line.validation).find(|found| !found.is_empty());
    for (way, found) in ways.into_iter().flatten().enumerate() {
        let name = format!("R@1 {} to {}", found.from, found.to);
        recall.push(series(name, &|line| line.validation.get(way)?.recall.get(&1).copied()));
    }
    Ok((loss, recall))
}
