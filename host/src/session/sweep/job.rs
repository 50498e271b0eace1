//! The fits of a sweep: one for each variation and seed, in a folder of its own whose name tells what it is made from.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::super::Error;
use crate::config::{Method, Recipe, Sweep, Variation};
use crate::run::RunFolder;

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

/// All fits of a sweep, in order. A closed form does not depend on the seed, and is fitted once.
pub(super) fn jobs(sweep: &Sweep, out: &Path) -> Result<Vec<Job>, Error> {
    let mut jobs = Vec::new();
    for (number, variation) in sweep.variations.iter().enumerate() {
        let folder = folder(variation);
        let seeds = if is_seeded(&variation.recipe) { &sweep.seeds[..] } else { &sweep.seeds[..1] };
        jobs.extend(seeds.iter().map(|&seed| {
            let run = out.join("runs").join(format!("{folder}-seed-{seed}"));
            Job { variation: number, seed, run }
        }));
    }
    Ok(jobs)
}

fn is_seeded(recipe: &Recipe) -> bool {
    matches!(recipe.method, Method::Auto | Method::Fusemix | Method::Joint)
}

/// The variation's name as that of a file, and a digest of the recipe and of the state of its tables and archives: what
/// was fitted to others is another run. Items that cells name are not looked at.
fn folder(variation: &Variation) -> String {
    let mut digest = blake3::Hasher::new();
    digest.update(variation.text.as_bytes());
    let recipe = &variation.recipe;
    let sources = recipe.pairs.iter().flat_map(|entry| [Some(&entry.train), entry.validation.as_ref()]).flatten();
    for source in sources.chain(recipe.unpaired.iter().map(|entry| &entry.train)) {
        for path in source.files() {
            let Ok(metadata) = fs::metadata(&path) else { continue };
            let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
            digest.update(format!("{} {} {modified:?}", path.display(), metadata.len()).as_bytes());
        }
    }
    let plain = |letter: char| if letter.is_ascii_alphanumeric() || ".+".contains(letter) { letter } else { '-' };
    let mut name: String = variation.name.chars().map(plain).take(LETTERS).collect();
    while name.contains("--") {
        name = name.replace("--", "-");
    }
    format!("{}-{}", name.trim_matches(['-', '.']), &digest.finalize().to_hex()[..8])
}
