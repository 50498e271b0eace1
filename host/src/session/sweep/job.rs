//! The fits of a sweep: one for each variation and seed, in a folder of its own whose name tells what it is made from.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::super::forecast::ColumnForecast;
use super::super::model::digest as written_digest;
use super::super::{Error, Session};
use super::judging::names;
use crate::config::{ChosenBy, Method, Recipe, Sweep, TowerSource, Variation};
use crate::dataset::Source;
use crate::fit::fusemix::TrainOptions;
use crate::run::{RunFolder, RunInfo};

/// A fit of a sweep.
#[derive(Clone, Debug)]
pub(super) struct Job {
    /// Its variation's number.
    pub(super) variation: usize,
    pub(super) seed: u64,
    /// The number of its fit, from 0: that of another variation with the same run, or the next one.
    pub(super) fit: usize,
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
        let has_its_towers = |recipe: Recipe| names(&recipe).eq(info.towers.iter().map(|tower| &tower.name));
        folder.check_whole().is_ok()
            && Recipe::read(&folder.recipe()).is_ok_and(has_its_towers)
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
/// on the seed, and is fitted once; so is what variations that differ in their test rows alone have in common.
pub(super) fn jobs(sweep: &Sweep, out: &Path, of: &[String]) -> Vec<Job> {
    let (mut jobs, runs) = (Vec::new(), out.join("runs"));
    let entries = fs::read_dir(&runs).into_iter().flatten().flatten();
    let made = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let known: HashMap<String, String> = made.filter_map(|name| Some((end(&name)?.to_owned(), name))).collect();
    let mut fits: HashMap<String, (usize, PathBuf)> = HashMap::new();
    for (number, (variation, digest)) in sweep.variations.iter().zip(of).enumerate() {
        let seeds = if is_seeded(&variation.recipe) { &sweep.seeds[..] } else { &sweep.seeds[..1] };
        for &seed in seeds {
            let what = format!("-{}{SEED}{seed}", &digest[..12]);
            let next = fits.len();
            let (fit, run) = fits.entry(what).or_insert_with_key(|what| {
                // What another sweep called otherwise is the same fit.
                let name = known.get(what).cloned().unwrap_or_else(|| plain(&variation.name) + what);
                (next, runs.join(name))
            });
            jobs.push(Job { variation: number, seed, fit: *fit, run: run.clone() });
        }
    }
    jobs
}

/// What stands before the seed in a run's name.
const SEED: &str = "-seed-";

/// The end of a run's name, which tells what it is fitted to, and its seed.
fn end(name: &str) -> Option<&str> {
    let (front, _) = name.rsplit_once(SEED)?;
    Some(&name[front.rfind('-')?..])
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
/// was fitted to others is another run. Files of latents count by name, size and time; rows that only judge do not.
pub(super) fn digest(session: &Session, variation: &Variation, columns: &[ColumnForecast]) -> Result<String, Error> {
    let mut digest = blake3::Hasher::new();
    let recipe = &variation.recipe;
    let stops = stops_by_validation(recipe);
    digest.update(fitted(variation, stops).as_bytes());
    let pairs = recipe.pairs.iter().flat_map(|entry| {
        let files = [Some(&entry.train), entry.validation.as_ref().filter(|_| stops)].into_iter().flatten();
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

/// The text of a variation's recipe without the files that change no fit: those for tests, and for validation unless
/// it stops a training.
fn fitted(variation: &Variation, stops: bool) -> String {
    let mut document: toml::Table = variation.text.parse().expect("it was made of TOML");
    let judges = |key: &str| key == "test" || key == "validation" && !stops;
    let pairs = document.get_mut("pairs").and_then(toml::Value::as_array_mut);
    for entry in pairs.into_iter().flatten().filter_map(toml::Value::as_table_mut) {
        entry.retain(|key, _| !judges(key));
    }
    toml::to_string(&document).expect("what was TOML is TOML")
}

/// True if recall on validation pairs tells when a training ends, and which of its adapters are kept.
fn stops_by_validation(recipe: &Recipe) -> bool {
    let patience = || recipe.options::<TrainOptions>().ok()?.patience;
    recipe.method == Method::Fusemix && patience().is_some_and(|patience| patience > 0)
}

/// Adds names, sizes and times of the files that rows are in: the recipe tells their folders, from the sweep's own on,
/// wherever that lies.
fn stamp(source: &Source, digest: &mut blake3::Hasher) {
    for path in source.files() {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        let modified = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        digest.update(format!("{:?} {} {modified:?}", path.file_name(), metadata.len()).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TomlFile;

    const SWEEP: &str = "\
seeds = 2
[tower.image]
encoder = 'a'
[tower.text]
encoder = 'b'
[[pairs]]
train = 'train.tsv'
validation = 'validation.tsv'
test = 'test.tsv'
image = 'file'
text = 'caption'
[train]
epochs = 3
";

    fn sweep(text: &str) -> Sweep {
        Sweep::parse(TomlFile::of(Path::new("sweep.toml"), text.to_owned())).unwrap()
    }

    #[test]
    fn rows_that_only_judge_are_no_part_of_a_fit() {
        let text = |text: &str| {
            let variation = &sweep(text).variations[0];
            fitted(variation, stops_by_validation(&variation.recipe))
        };
        let of = text(SWEEP);
        assert!(of.contains("train.tsv") && !of.contains("test.tsv") && !of.contains("validation.tsv"), "{of}");
        assert_eq!(text(&SWEEP.replace("'test.tsv'", "{ file = 'other.tsv', limit = 20 }")), of);
        assert_eq!(text(&SWEEP.replace("'validation.tsv'", "'other.tsv'")), of);
        assert_ne!(text(&SWEEP.replace("'train.tsv'", "'other.tsv'")), of);
        // Where validation stops a training, it does more than judge.
        let stops = SWEEP.replace("epochs = 3", "epochs = 3\npatience = 2");
        assert_ne!(text(&stops.replace("'validation.tsv'", "'other.tsv'")), text(&stops));
        assert_eq!(text(&stops.replace("'test.tsv'", "'other.tsv'")), text(&stops));
    }

    #[test]
    fn variations_of_one_fit_share_its_run_whatever_it_is_called() {
        let folder = tempfile::tempdir().unwrap();
        let sweep = sweep(&SWEEP.replace("'test.tsv'", "['one.tsv', 'other.tsv']"));
        let digest = blake3::hash(b"").to_hex().to_string();
        let all = || jobs(&sweep, folder.path(), &[digest.clone(), digest.clone()]);
        assert_eq!(
            all().iter().map(|job| (job.variation, job.fit)).collect::<Vec<_>>(),
            [(0, 0), (0, 1), (1, 0), (1, 1)]
        );
        assert_eq!((&all()[0].run, &all()[1].run), (&all()[2].run, &all()[3].run));
        let called = folder.path().join(format!("runs/lr-seed-3-{}-seed-1", &digest[..12]));
        fs::create_dir_all(&called).unwrap();
        assert_eq!((&all()[1].run, &all()[3].run), (&called, &called));
        assert_ne!(all()[0].run, called);
    }

    #[test]
    fn a_file_of_latents_is_the_same_from_wherever_it_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let stamp = |path: PathBuf| {
            let mut digest = blake3::Hasher::new();
            stamp(&Source::new(path), &mut digest);
            digest.finalize()
        };
        let path = folder.path().join("latents.npy");
        fs::write(&path, "latents").unwrap();
        let known = stamp(path.clone());
        fs::create_dir(folder.path().join("sweeps")).unwrap();
        assert_eq!(stamp(folder.path().join("sweeps/../latents.npy")), known);
        fs::write(&path, "others of another size").unwrap();
        assert_ne!(stamp(path), known);
    }
}
