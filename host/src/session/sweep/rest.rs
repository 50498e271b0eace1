//! The fits of a sweep that are left, and the seconds that they take: how far a run is, and which encoders it needs, is
//! looked up once.

use super::super::broken::{Broken, encoders};
use super::job::{Job, State};
use super::pace::Pace;
use crate::config::{Method, Sweep};

/// A fit that is to be made yet.
struct Waiting {
    /// The number of a variation that it is of.
    variation: usize,
    method: Method,
    /// The seconds that are reckoned for it, as far as they can be.
    reckoned: Option<f64>,
}

/// What is left of one method.
struct Sum {
    method: Method,
    fits: usize,
    /// Fits of which nothing tells the seconds.
    untold: usize,
    /// The seconds that are reckoned for the others.
    reckoned: f64,
}

/// The fits that are left.
pub(super) struct Rest {
    /// Of each variation, the encoders that it needs.
    encoders: Vec<Vec<String>>,
    /// Of each fit; none once it is made.
    waiting: Vec<Option<Waiting>>,
    /// Of each method that is left.
    sums: Vec<Sum>,
}

impl Rest {
    /// Those of these jobs; `reckoned` has the seconds of a fit of each variation.
    pub(super) fn new(sweep: &Sweep, jobs: &[Job], reckoned: &[Option<f64>], broken: &Broken) -> Self {
        let encoders = sweep.variations.iter().map(|variation| encoders(&variation.recipe)).collect();
        let mut waiting: Vec<Option<Waiting>> = Vec::new();
        for job in jobs.iter() {
            // A run that several variations share is one fit.
            if job.fit == waiting.len() {
                let (variation, reckoned) = (job.variation, reckoned[job.variation]);
                let method = sweep.variations[variation].recipe.method;
                let is_left = job.state() != State::Finished;
                waiting.push(is_left.then_some(Waiting { variation, method, reckoned }));
            }
        }
        let mut rest = Self { encoders, waiting, sums: Vec::new() };
        rest.leave_out(broken);
        rest
    }

    /// The reason why a variation cannot be fitted, if one of its encoders does not work.
    pub(super) fn reason<'a>(&self, variation: usize, broken: &'a Broken) -> Option<&'a String> {
        broken.reason_of(&self.encoders[variation])
    }

    /// Leaves out what needs an encoder that does not work.
    pub(super) fn leave_out(&mut self, broken: &Broken) {
        let mut sums: Vec<Sum> = Vec::new();
        for place in &mut self.waiting {
            let Some(waiting) = place else { continue };
            if broken.reason_of(&self.encoders[waiting.variation]).is_some() {
                *place = None;
                continue;
            }
            let at = sums.iter().position(|sum| sum.method == waiting.method).unwrap_or_else(|| {
                sums.push(Sum { method: waiting.method, fits: 0, untold: 0, reckoned: 0.0 });
                sums.len() - 1
            });
            sums[at].fits += 1;
            sums[at].untold += usize::from(waiting.reckoned.is_none());
            sums[at].reckoned += waiting.reckoned.unwrap_or(0.0);
        }
        self.sums = sums;
    }

    /// Takes out a fit that is made, or was tried.
    pub(super) fn take(&mut self, fit: usize) {
        let Some(made) = self.waiting[fit].take() else { return };
        self.sums.iter_mut().filter(|sum| sum.method == made.method).for_each(|sum| {
            sum.fits -= 1;
            sum.untold -= usize::from(made.reckoned.is_none());
            sum.reckoned -= made.reckoned.unwrap_or(0.0);
        });
        // What is left of a sum of fractions once all are taken is nothing.
        self.sums.retain(|sum| sum.fits > 0);
    }

    /// The seconds that they take; none if nothing tells them.
    pub(super) fn seconds(&self, pace: &Pace) -> Option<f64> {
        let told = |sum: &Sum| (sum.untold == 0).then(|| pace.seconds(sum.method, sum.reckoned.max(0.0)));
        self.sums.iter().map(told).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::config::TomlFile;

    const SWEEP: &str = "\
seeds = 2
[tower.image]
encoder = ['a', 'b']
[tower.text]
encoder = 'c'
[[pairs]]
train = 'train.tsv'
test = ['one.tsv', 'other.tsv']
image = 'file'
text = 'caption'
[fit]
method = ['fusemix', 'ridge']
";

    #[test]
    fn the_rest_is_what_is_left_without_a_look_at_its_folders() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = Sweep::parse(TomlFile::of(Path::new("sweep.toml"), SWEEP.to_owned())).unwrap();
        let digests: Vec<String> = sweep
            .variations
            .iter()
            .map(|of| format!("{:?} {}", of.recipe.method, of.name.contains("image b")))
            .map(|of| blake3::hash(of.as_bytes()).to_hex().to_string())
            .collect();
        let jobs = super::super::job::jobs(&sweep, folder.path(), &digests);
        // Of two encoders, a training with two seeds and a closed form; each is judged on two files.
        let fits = jobs.iter().map(|job| job.fit + 1).max().unwrap();
        assert_eq!((jobs.len(), fits), (12, 6));
        let make = |job: &Job| {
            fs::create_dir_all(&job.run).unwrap();
            fs::write(job.run.join("run.json"), "{}").unwrap();
        };
        make(&jobs[0]);
        let reckoned: Vec<Option<f64>> = sweep
            .variations
            .iter()
            .map(|of| Some(if of.recipe.method == Method::Ridge { 1.0 } else { 10.0 }))
            .collect();
        let (mut broken, pace) = (Broken::default(), Pace::read(folder.path()));
        let mut rest = Rest::new(&sweep, &jobs, &reckoned, &broken);
        assert_eq!(rest.seconds(&pace), Some(3.0 * 10.0 + 2.0 * 1.0));
        jobs.iter().for_each(make);
        assert_eq!(rest.seconds(&pace), Some(32.0), "folders are not looked at again");
        let other = jobs.iter().find(|job| job.fit == 1).unwrap();
        rest.take(other.fit);
        rest.take(other.fit);
        assert_eq!(rest.seconds(&pace), Some(22.0));
        broken.leave_out("b", "it fails".to_owned());
        rest.leave_out(&broken);
        assert_eq!(rest.seconds(&pace), Some(1.0));
        let of_b = jobs.iter().find(|job| sweep.variations[job.variation].name.contains("image b")).unwrap();
        assert_eq!(rest.reason(of_b.variation, &broken).map(String::as_str), Some("it fails"));
        (0..fits).for_each(|fit| rest.take(fit));
        assert_eq!(rest.seconds(&pace), Some(0.0));
        let untold = vec![None; reckoned.len()];
        fs::remove_dir_all(folder.path().join("runs")).unwrap();
        assert_eq!(Rest::new(&sweep, &jobs, &untold, &broken).seconds(&pace), None);
    }
}
