//! The results of a run: curves, retrieval on held-out pairs, and what those find.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::Error;
use super::evaluate::Tested;
use super::model::Model;
use crate::config::Method;
use crate::dataset::{Dataset, Item, Source};
use crate::eval::{Retrieval, nearest};
use crate::run::{Metrics, Overlap, RunInfo, TowerInfo, read_metrics};

/// Queries that are shown, spread evenly over the file.
const QUERIES: usize = 24;
/// Answers shown per query, besides the best match if it is not among them.
const ANSWERS: usize = 5;

/// All that there is to show of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The encoders that were fused: "image (efficientnet) + text (minilm)".
    pub title: String,
    /// One paragraph: data, sizes, seed.
    pub summary: String,
    /// Loss over the epochs.
    pub loss: Vec<Series>,
    /// Recall over the epochs on the validation pairs; may be empty.
    pub recall: Vec<Series>,
    /// Recall on the held-out pairs.
    pub retrieval: Vec<Retrieval>,
    /// The way in which the queries were chosen.
    pub choice: String,
    /// Those queries, and what they find.
    pub queries: Vec<Query>,
}

/// One line of a plot: its name and its points, (epoch, value).
#[derive(Clone, Debug)]
pub struct Series {
    /// Its name in the legend.
    pub name: String,
    /// Finite points in order of epoch.
    pub points: Vec<(f64, f64)>,
}

/// A query and the nearest items of another tower.
#[derive(Clone, Debug)]
pub struct Query {
    /// The query.
    pub item: Shown,
    /// Rank of the best match, from 1.
    pub rank: usize,
    /// The nearest items, nearest first; the last may be the best match, from further away.
    pub answers: Vec<Answer>,
}

/// An item that a query found.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The item.
    pub item: Shown,
    /// Its place among all items, from 1.
    pub rank: usize,
    /// Cosine similarity to the query.
    pub score: f32,
    /// True if it is a match.
    pub right: bool,
}

/// An item as a reader sees it.
#[derive(Clone, Debug)]
pub enum Shown {
    /// Text, or the name of a file that is no picture.
    Text(String),
    /// The file of a picture, and its name.
    Picture(PathBuf, String),
    /// The bytes of a picture in an archive, and its name.
    Bytes(Vec<u8>, String),
}

impl Model {
    /// The run's curves, its retrieval on the recipe's test files or on `data`, and what those pairs find.
    pub fn report(&self, data: Option<&Source>) -> Result<Report, Error> {
        let tested = self.held_out(data)?;
        let retrieval = self.retrieval(&tested)?;
        let (loss, recall) = self.curves()?;
        let (choice, queries) = self.queries(&tested)?;
        let (title, summary) = (title(&self.info), self.summary(&tested));
        Ok(Report { title, summary, loss, recall, retrieval, choice, queries })
    }

    fn summary(&self, tested: &[Tested]) -> String {
        let RunInfo { method, pairs, seed, device, .. } = &self.info;
        let made = match method {
            Method::Fusemix => format!("Adapters trained with FuseMix on {pairs} pairs (seed {seed}, {device})"),
            method => format!("A space fitted with {} to {pairs} pairs ({device})", method.title()),
        };
        let count: usize = tested.iter().map(|tested| tested.pairs.matches.len()).sum();
        let mut files: Vec<String> = tested.iter().map(Tested::file_name).collect();
        files.dedup();
        let files = files.join(", ");
        let shared: Option<Vec<&Overlap>> = tested.iter().map(|tested| tested.shared.as_ref()).collect();
        let held_out = match shared {
            // A run of an older version does not tell.
            None => String::new(),
            Some(shared) if shared.iter().all(|shared| shared.is_nothing()) => {
                ", no item of which was trained on".to_owned()
            }
            Some(shared) => {
                let pairs: usize = shared.iter().map(|shared| shared.pairs).sum();
                let items: usize = shared.iter().flat_map(|shared| shared.items).sum();
                let first = shared.iter().find_map(|shared| shared.row);
                let first = first.map_or(String::new(), |row| format!(" (the first is row {row})"));
                format!(", of which {pairs} pairs and {items} single items were trained on{first}")
            }
        };
        format!("{made}; below, {count} pairs of {files}{held_out}.")
    }

    /// The loss, and the mean recall on the validation pairs in percent, by epoch.
    pub fn metrics(&self) -> Result<BTreeMap<usize, [Option<f64>; 2]>, Error> {
        let path = self.folder.metrics();
        let lines = read_metrics(&path).map_err(|cause| Error::Read { path, cause })?;
        let mut epochs = BTreeMap::<usize, [Option<f64>; 2]>::new();
        for line in lines {
            let [loss, recall] = epochs.entry(line.epoch).or_default();
            (*loss, *recall) = (line.loss.or(*loss), line.mean_recall.or(*recall));
        }
        Ok(epochs)
    }

    fn curves(&self) -> Result<(Vec<Series>, Vec<Series>), Error> {
        let path = self.folder.metrics();
        let lines = read_metrics(&path).map_err(|cause| Error::Read { path, cause })?;
        let series = |name: String, value: &dyn Fn(&Metrics) -> Option<f64>| Series {
            name,
            points: lines.iter().filter_map(|line| Some((line.epoch as f64, value(line)?))).collect(),
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

    /// The results of one direction's queries, and how these were chosen: from text to pictures if there are both, else
    /// from text to other items, else from the second tower of the first pair set to its first.
    fn queries(&self, tested: &[Tested]) -> Result<(String, Vec<Query>), Error> {
        let towers = self.towers();
        let mut ways = Vec::new();
        for tested in tested {
            let [first, second] = &tested.ends;
            let modalities = [towers.modality(first.tower)?, towers.modality(second.tower)?];
            ways.extend([(1, 0), (0, 1)].map(|(from, to)| Way { tested, modalities: modalities.clone(), from, to }));
        }
        // Of equal ones the first.
        let way = ways.iter().min_by_key(|way| way.preference()).expect("there is at least one pair set");
        let Way { tested, from, to, .. } = *way;
        let embeddings = tested.pairs.embed(&self.space, &self.session.stop.go_on())?.ok_or(Error::Stopped)?;
        let width = self.space.width();
        let mut matches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for &(first, second) in &tested.pairs.matches {
            let ends = [first, second];
            matches.entry(ends[from]).or_default().push(ends[to]);
        }
        let count = matches.len().min(QUERIES);
        let mut all = Vec::new();
        for (&query, right) in (0..count).filter_map(|at| matches.iter().nth(at * matches.len() / count)) {
            let embedding = &embeddings[from][query * width..(query + 1) * width];
            let order = nearest(embedding, &embeddings[to], usize::MAX);
            let best = order.iter().position(|(item, _)| right.contains(item)).expect("a query has a match");
            let shown = (0..order.len().min(ANSWERS)).chain((best >= ANSWERS).then_some(best));
            let answers = shown.map(|at| {
                let (item, score) = order[at];
                Ok(Answer { item: way.shown(to, item)?, rank: at + 1, score, right: right.contains(&item) })
            });
            let answers = answers.collect::<Result<_, Error>>()?;
            all.push(Query { item: way.shown(from, query)?, rank: best + 1, answers });
        }
        let [from, to] = [from, to].map(|side| &self.recipe.towers[tested.pairs.towers[side]].name);
        let choice = format!(
            "From {from} to {to}: {count} of the {} queries of {}, spread evenly over the file and not chosen by \
             their results.",
            matches.len(),
            tested.file_name()
        );
        Ok((choice, all))
    }
}

/// "image (efficientnet) + text (minilm)".
fn title(info: &RunInfo) -> String {
    let tower = |tower: &TowerInfo| {
        let encoders: Vec<&str> = tower.encoders.iter().map(|encoder| encoder.name.as_str()).collect();
        let encoders = if encoders.is_empty() { "precomputed".to_owned() } else { encoders.join(", ") };
        format!("{} ({encoders})", tower.name)
    };
    info.towers.iter().map(tower).collect::<Vec<_>>().join(" + ")
}

/// A direction of a pair set: its sides' modalities, and the side of the queries.
struct Way<'a> {
    tested: &'a Tested,
    modalities: [Option<String>; 2],
    from: usize,
    to: usize,
}

impl Way<'_> {
    /// The rank of a direction for display; the lowest is best.
    fn preference(&self) -> usize {
        match [self.from, self.to].map(|side| self.modalities[side].as_deref()) {
            [Some("text"), Some("image")] => 0,
            [Some("text"), to] if to != Some("text") => 1,
            _ => 2,
        }
    }

    /// Item `item` of a side, as shown on the page.
    fn shown(&self, side: usize, item: usize) -> Result<Shown, Error> {
        let (file, column) = (&*self.tested.file, &self.tested.ends[side].column);
        let row = self.tested.pairs.sides[side].rows[item];
        let name = file.name(column, row)?;
        let (Some("image"), Dataset::Table(table)) = (self.modalities[side].as_deref(), file) else {
            return Ok(Shown::Text(name));
        };
        Ok(match table.column(column)?.item(row) {
            Item::File(path) => Shown::Picture(path, name),
            item => item.read().map_or(Shown::Text(name.clone()), |bytes| Shown::Bytes(bytes.into_owned(), name)),
        })
    }
}
