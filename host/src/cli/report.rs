//! `fusemix report`: a run as one HTML page.

use anyhow::{Context, Result, anyhow};
use serde::Deserialize;
use std::path::PathBuf;

use super::search::name;
use super::session::Session;
use super::towers::Towers;
use super::trained::{Tested, Trained};
use crate::dataset::DataFile;
use crate::device::DeviceChoice;
use crate::eval::nearest;
use crate::report::curves::Series;
use crate::report::{Found, Hit, Page, Picture, Shown};
use crate::run::RunInfo;

/// Queries in the gallery, spread evenly over the file.
const QUERIES: usize = 24;
/// Items that a query shows.
const HITS: usize = 5;

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
    let trained = Trained::open(&arguments.run, arguments.device)?;
    let towers = trained.towers(session);
    let tested = trained.held_out(&towers, arguments.data.as_deref())?;
    let mut retrieval = Vec::new();
    for tested in &tested {
        retrieval.extend(tested.pairs.retrieval(&trained.fusion)?);
    }
    let (loss, recall) = curves(&trained)?;
    let page = Page {
        title: title(&trained.info),
        summary: summary(&trained.info, &tested),
        loss,
        recall,
        retrieval,
        gallery: gallery(&trained, &towers, &tested[0])?,
    };
    let html = page.html().map_err(|error| anyhow!("the curves cannot be drawn: {error}"))?;
    let out = arguments.out;
    std::fs::write(&out, html).with_context(|| format!("cannot write {}", out.display()))?;
    if session.json {
        println!("{:#}", serde_json::json!({"page": out}));
    } else {
        println!("{}", out.display());
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

fn summary(info: &RunInfo, tested: &[Tested]) -> String {
    let held_out: usize = tested.iter().map(|tested| tested.pairs.matches.len()).sum();
    format!(
        "Adapters trained with FuseMix on {} pairs (seed {}, {}); below, {held_out} pairs that the training never saw.",
        info.pairs, info.seed, info.device
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

/// What held-out items find: pictures for text where there are both, else the first tower's items for the second's.
fn gallery(trained: &Trained, towers: &Towers<'_>, tested: &Tested) -> Result<Vec<Found>> {
    let ends = &tested.entry.ends;
    let modalities = [towers.modality(ends[0].tower)?, towers.modality(ends[1].tower)?];
    let (from, to) = if modalities[0].as_deref() == Some("text") { (0, 1) } else { (1, 0) };
    let embeddings = tested.pairs.embed(&trained.fusion)?;
    let width = trained.fusion.width();
    let shown = |side: usize, item: usize| -> Result<Shown> {
        shown(tested, &ends[side].column, modalities[side].as_deref(), tested.pairs.sides[side].rows[item])
    };
    let matches = |query: usize| {
        let pairs = tested.pairs.matches.iter().map(|&(a, b)| if from == 0 { (a, b) } else { (b, a) });
        pairs.filter(|pair| pair.0 == query).map(|pair| pair.1).collect::<Vec<usize>>()
    };
    let queries: Vec<usize> = (0..tested.pairs.sides[from].rows.len()).filter(|&q| !matches(q).is_empty()).collect();
    let mut gallery = Vec::new();
    for &query in queries.iter().step_by(queries.len().div_ceil(QUERIES).max(1)) {
        let embedding = &embeddings[from][query * width..(query + 1) * width];
        let order = nearest(embedding, &embeddings[to], usize::MAX);
        let right = matches(query);
        let rank = 1 + order.iter().position(|(item, _)| right.contains(item)).unwrap_or(order.len());
        let hits = order
            .iter()
            .take(HITS)
            .map(|&(item, score)| Ok(Hit { item: shown(to, item)?, score, right: right.contains(&item) }));
        gallery.push(Found { query: shown(from, query)?, rank, hits: hits.collect::<Result<_>>()? });
    }
    Ok(gallery)
}

fn shown(tested: &Tested, column: &str, modality: Option<&str>, row: usize) -> Result<Shown> {
    let name = name(&tested.file, column, row)?;
    let (Some("image"), DataFile::Table(table)) = (modality, &tested.file) else { return Ok(Shown::Text(name)) };
    Ok(match Picture::read(&table.column(column)?.file(row)) {
        Some(picture) => Shown::Picture(picture, name),
        None => Shown::Text(name),
    })
}
