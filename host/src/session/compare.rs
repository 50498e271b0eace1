//! The comparison of several runs on the same held-out pairs.

use serde::Serialize;
use std::path::{Path, PathBuf};

use super::evaluate::Tested;
use super::model::Model;
use super::{Error, Session};
use crate::device::DeviceChoice;
use crate::eval::{Interval, Sample};

/// A run beside the others.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// The run folder.
    pub run: PathBuf,
    /// The mean of R@1, R@5 and R@10 over all directions, in percent.
    pub recall: Interval,
    /// That less the first run's, by query; none for the first.
    pub apart: Option<Interval>,
    /// Held-out pairs that would tell a difference of this size from none; none where these do.
    pub enough: Option<usize>,
}

/// Several runs on the same pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Held-out pairs.
    pub pairs: usize,
    /// The runs, in the given order.
    pub runs: Vec<Compared>,
}

/// The queries of a run, and what they must have in common with the others.
struct Judged {
    sample: Sample,
    pairs: usize,
    /// Names of towers, and digests of the pairs between them.
    identity: Vec<([String; 2], String)>,
}

impl Session {
    /// Compares runs on `data`, or on the test files of the first run's recipe. All must be able to take the same
    /// pairs.
    pub fn compare(&self, runs: &[PathBuf], data: &[PathBuf], device: DeviceChoice) -> Result<Comparison, Error> {
        let mut judged = Vec::with_capacity(runs.len());
        let mut files: Vec<PathBuf> = Vec::new();
        data.iter().for_each(|file| files.extend((!files.contains(file)).then(|| file.clone())));
        for run in runs {
            let model = self.model(run, device)?;
            if files.is_empty() {
                files = model.test_files();
            }
            judged.push(model.judge(&files)?);
        }
        let first = &judged[0];
        let other = judged.iter().position(|judged| judged.identity != first.identity);
        if let Some(other) = other {
            return Err(Error::OtherPairs { first: runs[0].clone(), other: runs[other].clone() });
        }
        let compared = runs.iter().zip(&judged).enumerate().map(|(at, (run, judged))| {
            let apart = (at > 0).then(|| judged.sample.less(&first.sample).interval());
            let enough = apart.and_then(|Interval { mean, low, high }| {
                let half = (high - low) / 2.0;
                let times = (half / mean.abs().max(0.1)).powi(2).max(1.0);
                (half > 0.0 && low <= 0.0 && high >= 0.0).then_some((judged.pairs as f64 * times).ceil() as usize)
            });
            Compared { run: run.clone(), recall: judged.sample.interval(), apart, enough }
        });
        Ok(Comparison { pairs: first.pairs, runs: compared.collect() })
    }
}

impl Model {
    /// The test files of the recipe, each once.
    pub(super) fn test_files(&self) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = Vec::new();
        for file in self.recipe.pairs.iter().filter_map(|entry| entry.test.clone()) {
            if !files.contains(&file) {
                files.push(file);
            }
        }
        files
    }

    fn judge(&self, files: &[PathBuf]) -> Result<Judged, Error> {
        let mut tested: Vec<Tested> = Vec::new();
        match files {
            [] => tested = self.held_out(None)?,
            files => {
                for file in files {
                    tested.extend(self.held_out(Some(Path::new(file)))?);
                }
            }
        }
        let sets = || tested.iter().map(|tested| &tested.pairs);
        let sample = Sample::of(sets(), &self.space, &self.session.stop)?.ok_or(Error::Stopped)?;
        let names = |towers: [usize; 2]| towers.map(|tower| self.recipe.towers[tower].name.clone());
        let identity = sets().map(|pairs| (names(pairs.towers), pairs.digest.clone())).collect();
        Ok(Judged { sample, pairs: sets().map(|pairs| pairs.matches.len()).sum(), identity })
    }
}
