//! The table of a sweep: each variation's recall over its seeds, and what it is ahead of the baseline.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use super::effects::SweepEffect;
use crate::config::{Axis, Pairs, Sweep};
use crate::eval::{Interval, Retrieval, Sample};
use crate::run::Overlap;
use crate::session::compare;

/// The result of a sweep so far.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepTable {
    /// What was varied.
    pub axes: Vec<SweepAxis>,
    /// The name of the variation that others are compared with.
    pub baseline: String,
    /// "test" or "validation": the pairs that they are judged on.
    pub on: &'static str,
    /// Those pairs, counted; none if variations have different ones.
    pub pairs: Option<usize>,
    /// Rows of the files that are not judged on, because an item cannot be read or an encoder has no latent of it.
    pub left_out: usize,
    /// The parts of them that were trained on, of the first variation that has seen some.
    pub shared: Vec<Overlap>,
    /// The name of the best variation; none before the sweep has ended, or of pairs that differ.
    pub best: Option<String>,
    /// What each key does that is varied beside others; none before the sweep has ended.
    pub effects: Vec<SweepEffect>,
    /// The variations, in their order.
    pub rows: Vec<SweepRow>,
}

/// A key that was varied.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepAxis {
    /// Its name.
    pub name: String,
    /// Its values.
    pub values: Vec<String>,
    /// True if they are numbers.
    pub are_numbers: bool,
}

/// A variation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepRow {
    /// Its name.
    pub name: String,
    /// The name of its `[[variant]]`, if there are some.
    pub variant: Option<String>,
    /// The place of its value on each axis; none on one of an encoder, or of a method, that it does not have.
    pub at: Vec<Option<usize>>,
    /// The method that it was fitted with; several where a choice differs between seeds.
    pub methods: Vec<String>,
    /// Its runs.
    pub runs: Vec<SweepRun>,
    /// The mean of R@1, R@5 and R@10 over all directions and seeds, in percent, with the interval over queries.
    pub recall: Option<Interval>,
    /// The standard deviation of that over the seeds; none of fewer than two.
    pub deviation: Option<f64>,
    /// The recall less the baseline's, query by query, with its interval; none of the baseline.
    pub apart: Option<Interval>,
    /// The recall less the best's, query by query, with its interval; none of the best.
    pub behind: Option<Interval>,
    /// True of the best, and of what is not told apart from it.
    pub among_best: bool,
    /// The pairs that it is judged on.
    pub pairs: Option<usize>,
    /// Rows to judge on of which its own encoders have no latent.
    pub lacking: usize,
    /// Means over the seeds for each direction.
    pub directions: Vec<SweepDirection>,
    /// What kept a run from its end.
    pub error: Option<String>,
}

/// A run of a variation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepRun {
    /// Its seed.
    pub seed: u64,
    /// Its folder.
    pub run: PathBuf,
    /// Its recall; none if it failed.
    pub recall: Option<f64>,
}

/// Recall in a direction.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SweepDirection {
    /// The tower of the queries.
    pub from: String,
    /// The tower of the gallery.
    pub to: String,
    /// R@k in percent, by k.
    pub recall: BTreeMap<usize, f64>,
}

impl SweepTable {
    /// The rows, the best first.
    pub fn best_first(&self) -> Vec<&SweepRow> {
        let mut rows: Vec<&SweepRow> = self.rows.iter().collect();
        let recall = |row: &SweepRow| row.recall.map_or(f64::NEG_INFINITY, |recall| recall.mean);
        rows.sort_by(|a, b| recall(b).total_cmp(&recall(a)));
        rows
    }

    /// The directions of any row, by the towers from which and to which they go.
    pub fn ways(&self) -> Vec<[String; 2]> {
        let mut ways: Vec<[String; 2]> = Vec::new();
        for way in self.rows.iter().flat_map(|row| &row.directions) {
            let way = [way.from.clone(), way.to.clone()];
            if !ways.contains(&way) {
                ways.push(way);
            }
        }
        ways
    }
}

impl SweepRow {
    /// Its direction between these towers, if it has that.
    pub fn direction(&self, [from, to]: &[String; 2]) -> Option<&SweepDirection> {
        self.directions.iter().find(|way| way.from == *from && way.to == *to)
    }
}

/// A run that was judged.
pub(super) struct Judged {
    pub(super) method: String,
    pub(super) judged: compare::Judged,
}

/// A run with its judgement, or what kept it from its end.
pub(super) struct Judgement {
    pub(super) seed: u64,
    pub(super) run: PathBuf,
    pub(super) judged: Result<Judged, String>,
}

/// The table of what has been judged so far. A row is made anew only where a run of its own, or of the baseline, came.
pub(super) struct Board<'a> {
    pub(super) sweep: &'a Sweep,
    /// Of each variation.
    judged: Vec<Vec<Judgement>>,
    rows: Vec<Option<SweepRow>>,
}

impl<'a> Board<'a> {
    pub(super) fn new(sweep: &'a Sweep) -> Self {
        let count = sweep.variations.len();
        Self { sweep, judged: (0..count).map(|_| Vec::new()).collect(), rows: vec![None; count] }
    }

    /// Adds a run of a variation.
    pub(super) fn add(&mut self, variation: usize, judgement: Judgement) {
        self.judged[variation].push(judgement);
        // As they are listed, whichever of them came first.
        let place = |judgement: &Judgement| self.sweep.seeds.iter().position(|seed| *seed == judgement.seed);
        self.judged[variation].sort_by_key(place);
        let all = 0..self.judged.len();
        for number in all.filter(|&number| number == variation || variation == self.sweep.baseline) {
            self.rows[number] = (!self.judged[number].is_empty()).then(|| self.row(number));
        }
    }

    fn good(&self, variation: usize) -> impl Iterator<Item = &Judged> {
        self.judged[variation].iter().filter_map(|judgement| judgement.judged.as_ref().ok())
    }

    pub(super) fn sample(&self, variation: usize) -> Option<Sample> {
        let samples: Vec<&Sample> = self.good(variation).map(|judged| &judged.judged.sample).collect();
        Sample::averaged(&samples)
    }

    pub(super) fn identity(&self, variation: usize) -> Option<&Identity> {
        self.good(variation).next().map(|judged| &judged.judged.identity)
    }

    fn row(&self, number: usize) -> SweepRow {
        let (variation, baseline) = (&self.sweep.variations[number], self.sweep.baseline);
        let own = self.sample(number);
        let means: Vec<f64> = self.good(number).map(|judged| judged.judged.sample.mean()).collect();
        let comparable = number != baseline && self.identity(number) == self.identity(baseline);
        let base = comparable.then(|| self.sample(baseline)).flatten();
        let mut methods: Vec<String> = self.good(number).map(|judged| judged.method.clone()).collect();
        methods.sort_unstable();
        methods.dedup();
        let run = |Judgement { seed, run, judged }: &Judgement| SweepRun {
            seed: *seed,
            run: run.clone(),
            recall: judged.as_ref().ok().map(|judged| judged.judged.sample.mean()),
        };
        SweepRow {
            name: variation.name.clone(),
            variant: variation.variant.clone(),
            at: variation.at.clone(),
            methods,
            runs: self.judged[number].iter().map(run).collect(),
            recall: own.as_ref().map(Sample::interval),
            deviation: deviation(&means),
            apart: own.as_ref().zip(base.as_ref()).map(|(own, base)| own.less(base).interval()),
            behind: None,
            among_best: false,
            pairs: self.good(number).next().map(|judged| judged.judged.pairs),
            lacking: self.good(number).map(|judged| judged.judged.left_out[1]).max().unwrap_or(0),
            directions: directions(&self.good(number).map(|judged| &judged.judged.retrieval[..]).collect::<Vec<_>>()),
            error: self.judged[number].iter().find_map(|judgement| judgement.judged.as_ref().err().cloned()),
        }
    }

    /// The table of a sweep that has ended, with what tells the best from the others.
    pub(super) fn whole(&self) -> SweepTable {
        let mut table = self.table();
        table.effects = self.effects();
        // Of other pairs, the easiest ones would be named, and no setting.
        if table.pairs.is_none() {
            return table;
        }
        let mean = |number: &usize| self.rows[*number].as_ref().and_then(|row| row.recall).map(|recall| recall.mean);
        let known = (0..self.rows.len()).filter(|number| mean(number).is_some());
        // Of equal ones the first, as the table has it.
        let best = known.rev().max_by(|a, b| mean(a).unwrap_or(0.0).total_cmp(&mean(b).unwrap_or(0.0)));
        let Some((best, sample)) = best.and_then(|best| Some((best, self.sample(best)?))) else { return table };
        table.best = Some(self.sweep.variations[best].name.clone());
        let numbers = (0..self.rows.len()).filter(|number| self.rows[*number].is_some());
        for (number, row) in numbers.zip(&mut table.rows) {
            let own = (number != best).then(|| self.sample(number)).flatten();
            row.behind = own.map(|own| own.less(&sample).interval());
            row.among_best = number == best || row.behind.is_some_and(Interval::holds_zero);
        }
        table
    }

    /// The table so far.
    pub(super) fn table(&self) -> SweepTable {
        let known: Vec<_> = (0..self.judged.len()).filter_map(|number| self.identity(number)).collect();
        let same = known.windows(2).all(|two| two[0] == two[1]);
        let pairs = (0..self.judged.len()).find_map(|number| Some(self.good(number).next()?.judged.pairs));
        let good = || (0..self.judged.len()).flat_map(|number| self.good(number));
        let left_out = good().map(|judged| judged.judged.left_out[0]);
        let shared = good().map(|judged| &judged.judged.shared).find(|shared| !shared.is_empty());
        let axis = |Axis { name, values, are_numbers, .. }: &Axis| SweepAxis {
            name: name.clone(),
            values: values.clone(),
            are_numbers: *are_numbers,
        };
        SweepTable {
            axes: self.sweep.axes.iter().map(axis).collect(),
            baseline: self.sweep.variations[self.sweep.baseline].name.clone(),
            on: match self.sweep.on {
                Pairs::Test => "test",
                Pairs::Validation => "validation",
            },
            pairs: pairs.filter(|_| same),
            left_out: left_out.max().unwrap_or(0),
            shared: shared.cloned().unwrap_or_default(),
            best: None,
            effects: Vec::new(),
            rows: self.rows.iter().flatten().cloned().collect(),
        }
    }
}

/// The pairs of a run: names of towers, and a digest of the pairs between them.
pub(super) type Identity = Vec<([String; 2], String)>;

/// The standard deviation of values, as of a sample.
fn deviation(values: &[f64]) -> Option<f64> {
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| (squares / (values.len() - 1) as f64).sqrt())
}

/// The means of several runs' recall, direction by direction.
fn directions(runs: &[&[Retrieval]]) -> Vec<SweepDirection> {
    let Some(first) = runs.first() else { return Vec::new() };
    let direction = |(at, way): (usize, &Retrieval)| {
        let mean = |k: &usize| {
            let found = runs.iter().filter_map(|run| run.get(at)?.recall.get(k));
            found.sum::<f64>() / runs.len() as f64
        };
        let recall = way.recall.keys().map(|k| (*k, mean(k))).collect();
        SweepDirection { from: way.from.clone(), to: way.to.clone(), recall }
    };
    first.iter().enumerate().map(direction).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;
    use crate::config::TomlFile;

    const SWEEP: &str = "\
[tower.image]
encoder = 'a'
[tower.text]
encoder = 'b'
[[pairs]]
train = 'train.tsv'
test = 'test.tsv'
image = 'file'
text = 'caption'
sample = [50, 500]
";

    /// The table of two variations that are judged on pairs with these digests.
    fn table(digests: [&str; 2]) -> SweepTable {
        let sweep = Sweep::parse(TomlFile::of(Path::new("sweep.toml"), SWEEP.to_owned())).unwrap();
        let mut board = Board::new(&sweep);
        for (variation, digest) in digests.into_iter().enumerate() {
            let judged = compare::Judged {
                sample: Sample::default(),
                retrieval: Vec::new(),
                pairs: 20,
                identity: vec![(["image", "text"].map(str::to_owned), digest.to_owned())],
                items: HashSet::new(),
                shared: Vec::new(),
                left_out: [0, 0],
            };
            let judged = Ok(Judged { method: "ridge".to_owned(), judged });
            board.add(variation, Judgement { seed: 0, run: PathBuf::new(), judged });
        }
        board.whole()
    }

    #[test]
    fn the_best_is_one_of_those_that_are_judged_on_the_same_pairs() {
        let same = table(["some", "some"]);
        assert_eq!((same.pairs, same.best.as_deref()), (Some(20), Some("sample 50")));
        assert!(same.rows[0].among_best && same.rows[1].behind.is_some());
        let apart = table(["some", "others"]);
        assert_eq!((apart.pairs, apart.best), (None, None));
        assert!(apart.rows.iter().all(|row| row.behind.is_none() && !row.among_best && row.recall.is_some()));
    }
}
