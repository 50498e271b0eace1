//! The fits of a sweep: one for each variation and seed, in a folder of its own whose name tells what it is made from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::super::forecast::ColumnForecast;
use super::super::model::digest as written_digest;
use super::super::{Error, Session};
use crate::config::{ChosenBy, Method, Recipe, Sweep, TowerSource, Variation};
use crate::dataset::Source;
use crate::run::{RunFolder, RunInfo};

/// A fit of a sweep.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Its variation's number.
    pub(super) variation: usize,
    pub(super) seed: u64,
    /// Its run folder.
    pub(super) run: PathBuf,
}

/// How far a fit is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Absent,
    Unfinished,
    Finished,
}

impl Job {
    /// True if its run has all that it was left with, so that nothing is left but to judge it.
    pub(super) fn is_done(&self) -> bool {
        let Ok((folder, info)) = RunFolder::open(&self.run) else { return false };
        let is_as_written = |path: &Path, written: &Option<String>| match written {
            Some(written) => written_digest(path).is_ok_and(|of| of == *written),
            None => true,
        };
        folder.check_whole().is_ok()
            && Recipe::read(&folder.recipe()).is_ok()
            && is_as_written(&folder.adapters(), &info.adapters)
            && is_as_written(&folder.seen(), &info.seen)
    }

    pub(super) fn state(&self) -> State {
        match (RunFolder::is_in(&self.run), self.run.is_dir()) {
            (true, _) => State::Finished,
            (false, true) => State::Unfinished,
            (false, false) => State::Absent,
        }
    }
}

/// The most letters of a folder's name that come from the variation's.
const LETTERS: usize = 80;

/// All fits of a sweep, in order; `of` is a digest of what each variation is fitted to. A closed form does not depend
/// on the seed, and is fitted once.
pub(super) fn jobs(sweep: &Sweep, out: &Path, of: &[String]) -> Vec<Job> {
    let (mut jobs, runs) = (Vec::new(), out.join("runs"));
    let entries = fs::read_dir(&runs).into_iter().flatten().flatten();
    let known: Vec<String> = entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    for (number, (variation, digest)) in sweep.variations.iter().zip(of).enumerate() {
        let seeds = if is_seeded(&variation.recipe) { &sweep.seeds[..] } else { &sweep.seeds[..1] };
        jobs.extend(seeds.iter().map(|&seed| {
            let what = format!("-{}-seed-{seed}", &digest[..12]);
            // What another sweep called otherwise is the same fit.
            let run = match known.iter().find(|name| name.ends_with(&what)) {
                Some(name) => runs.join(name),
                None => runs.join(plain(&variation.name) + &what),
            };
            Job { variation: number, seed, run }
        }));
    }
    jobs
}

fn is_seeded(recipe: &Recipe) -> bool {
    matches!(recipe.method, Method::Auto | Method::Fusemix | Method::Joint)
}

/// A variation's name as that of a file.
fn plain(name: &str) -> String {
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || ".+".contains(letter) { letter } else { '-' };
    let mut name: String = name.chars().map(plain).take(LETTERS).collect();
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    name.trim_matches(['-', '.']).to_owned()
}

/// A digest of what a variation is fitted to: its recipe, and the items of its pairs with their encoders, so that what
/// was fitted to others is another run. Files of latents count by size and time.
pub(super) fn digest(session: &Session, variation: &Variation, columns: &[ColumnForecast]) -> Result<String, Error> {
    let mut digest = blake3::Hasher::new();
    digest.update(variation.text.as_bytes());
    let recipe = &variation.recipe;
    let pairs = recipe.pairs.iter().flat_map(|entry| {
        let files = [Some(&entry.train), entry.validation.as_ref()].into_iter().flatten();
        files.flat_map(|source| entry.ends.iter().map(move |end| (source, end)))
    });
    for subset in recipe.pairs.iter().filter_map(|entry| entry.subset.as_ref()) {
        if let ChosenBy::Run(run) = &subset.by {
            let RunInfo { adapters, towers, .. } = RunFolder::open(run)?.1;
            digest.update(format!("{adapters:?} {towers:?}").as_bytes());
        }
    }
    let ends = pairs.chain(recipe.unpaired.iter().map(|entry| (&entry.train, &entry.end)));
    for (source, end) in ends {
        match &recipe.towers[end.tower].source {
            TowerSource::Encoders(names) => {
                for name in names {
                    let is_its =
                        |of: &&ColumnForecast| of.source == *source && of.column == end.column && of.encoder == *name;
                    let items = columns.iter().find(is_its).map(|of| &of.forecast.digest);
                    let encoder = &session.encoder(name)?.fingerprint;
                    digest.update(format!("{items:?} {encoder:?}").as_bytes());
                }
            }
            TowerSource::Precomputed => stamp(source, &mut digest),
            TowerSource::Rows(rows) => {
                stamp(source, &mut digest);
                [Some(&rows.file), rows.ids.as_ref()].into_iter().flatten().for_each(|file| {
                    stamp(&Source::new(file), &mut digest);
                });
            }
        }
    }
    Ok(digest.finalize().to_hex().to_string())
}

/// Adds sizes and times of the files that rows are in.
fn stamp(source: &Source, digest: &mut blake3::Hasher) {
    for path in source.files() {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        digest.update(format!("{} {} {modified:?}", path.display(), metadata.len()).as_bytes());
    }
}
