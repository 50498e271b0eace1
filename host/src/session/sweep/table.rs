//! The table of a sweep: each variation's recall over its seeds, and what it is ahead of the baseline.

use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::config::{Axis, Pairs, Sweep};
use crate::eval::{Interval, Retrieval, Sample};
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
    /// The place of its value on each axis.
    pub at: Vec<usize>,
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

/// A run that was judged.
pub(super) struct Judged {
    pub(super) method: String,
    pub(super) judged: compare::Judged,
}

/// A run with its judgement, or what kept it from its end.
pub(super) struct Judgement {
    pub(super) variation: usize,
    pub(super) seed: u64,
    pub(super) run: PathBuf,
    pub(super) judged: Result<Judged, String>,
}

/// The table of what has been judged so far.
pub(super) fn table(sweep: &Sweep, all: &[Judgement]) -> SweepTable {
    let of = |variation: usize| all.iter().filter(move |judgement| judgement.variation == variation);
    let good = |variation: usize| of(variation).filter_map(|judgement| judgement.judged.as_ref().ok());
    let sample = |variation: usize| {
        let samples: Vec<&Sample> = good(variation).map(|judged| &judged.judged.sample).collect();
        Sample::averaged(&samples)
    };
    let base = sample(sweep.baseline);
    let identity = |variation: usize| good(variation).next().map(|judged| &judged.judged.identity);
    let row = |(number, variation): (usize, &crate::config::Variation)| {
        let own = sample(number);
        let means: Vec<f64> = good(number).map(|judged| judged.judged.sample.mean()).collect();
        let same = identity(number) == identity(sweep.baseline);
        let apart = own.as_ref().zip(base.as_ref()).filter(|_| number != sweep.baseline && same);
        let mut methods: Vec<String> = good(number).map(|judged| judged.method.clone()).collect();
        methods.sort_unstable();
        methods.dedup();
        SweepRow {
            name: variation.name.clone(),
            variant: variation.variant.clone(),
            at: variation.at.clone(),
            methods,
            runs: of(number)
                .map(|Judgement { seed, run, judged, .. }| SweepRun {
                    seed: *seed,
                    run: run.clone(),
                    recall: judged.as_ref().ok().map(|judged| judged.judged.sample.mean()),
                })
                .collect(),
            recall: own.as_ref().map(Sample::interval),
            deviation: deviation(&means),
            apart: apart.map(|(own, base)| own.less(base).interval()),
            directions: directions(&good(number).map(|judged| &judged.judged.retrieval[..]).collect::<Vec<_>>()),
            error: of(number).find_map(|judgement| judgement.judged.as_ref().err().cloned()),
        }
    };
    let rows: Vec<SweepRow> =
        sweep.variations.iter().enumerate().filter(|(number, _)| of(*number).next().is_some()).map(row).collect();
    let known: Vec<_> = (0..sweep.variations.len()).filter_map(identity).collect();
    let same = known.windows(2).all(|two| two[0] == two[1]);
    let pairs = all.iter().filter_map(|judgement| judgement.judged.as_ref().ok()).map(|judged| judged.judged.pairs);
    SweepTable {
        axes: sweep
            .axes
            .iter()
            .map(|Axis { name, values, are_numbers }| SweepAxis {
                name: name.clone(),
                values: values.clone(),
                are_numbers: *are_numbers,
            })
            .collect(),
        baseline: sweep.variations[sweep.baseline].name.clone(),
        on: match sweep.on {
            Pairs::Test => "test",
            Pairs::Validation => "validation",
        },
        pairs: pairs.clone().next().filter(|_| same),
        rows,
    }
}

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
