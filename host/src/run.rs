//! A run folder: what training leaves behind, and what evaluation and search need.
//!
//! | file | content |
//! |---|---|
//! | `recipe.toml` | the recipe as resolved: absolute paths, every training option with its value |
//! | `run.json` | program version, seed, device, and for each tower the fingerprints of its encoders |
//! | `adapters.safetensors` | the adapters (see `fusion/adapters.rs`) |
//! | `metrics.jsonl` | a JSON object a line: losses by epoch, recall on the validation pairs |

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::fusion::Checkpoints;
use crate::fusion::checkpoint::differences;
use crate::plugin::LoadedEncoder;
use crate::whole_file;

/// What `run.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of this program.
    pub fusemix: String,
    /// The seed.
    pub seed: u64,
    /// The device it was trained on.
    pub device: String,
    /// Pairs that it was trained on.
    pub pairs: usize,
    /// One a tower, in the recipe's order.
    pub towers: Vec<TowerInfo>,
}

/// What a tower was trained on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TowerInfo {
    /// Its name in the recipe.
    pub name: String,
    /// Width of its latents.
    pub width: usize,
    /// Its encoders; none if its latents were precomputed.
    pub encoders: Vec<EncoderInfo>,
}

/// An encoder as it was while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderInfo {
    /// Its name in plugins.toml.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: BTreeMap<String, String>,
}

/// What is wrong with a run folder.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum RunError {
    #[error("{} already holds a run; name another folder with --out, or add --overwrite", path.display())]
    Exists { path: PathBuf },
    #[error("{} holds an unfinished training; --resume goes on with it, --overwrite begins anew", path.display())]
    Unfinished { path: PathBuf },
    #[error("{} holds a finished run; there is nothing to resume", path.display())]
    Finished { path: PathBuf },
    #[error("{} holds no finished run ({cause}); `fusemix train RECIPE --out {}` makes one, and with --resume \
             goes on with an unfinished one", path.display(), path.display())]
    NoRun { path: PathBuf, cause: io::Error },
    #[error("cannot write {}: {cause}; check the folder's permissions and the space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
    #[error("{} does not read: {cause}; it was changed or cut short, so train again", path.display())]
    Corrupt { path: PathBuf, cause: serde_json::Error },
    #[error(
        "encoder `{encoder}` is not the one that this run was trained with: trained with {}; now {}; configure that one \
         again in plugins.toml, or train anew",
        differences(trained, present)[0],
        differences(trained, present)[1]
    )]
    OtherEncoder { encoder: String, trained: BTreeMap<String, String>, present: BTreeMap<String, String> },
}

impl EncoderInfo {
    /// An encoder as it is now.
    pub fn of(encoder: &LoadedEncoder) -> Self {
        Self { name: encoder.name.clone(), fingerprint: encoder.fingerprint.clone() }
    }

    /// Refuses an encoder other than the one of the run.
    pub fn verify(&self, present: &LoadedEncoder) -> Result<(), RunError> {
        if self.fingerprint == present.fingerprint {
            return Ok(());
        }
        Err(RunError::OtherEncoder {
            encoder: self.name.clone(),
            trained: self.fingerprint.clone(),
            present: present.fingerprint.clone(),
        })
    }
}

/// The paths of a run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// Where the run is while it is made: another folder if `path` still holds the one that it replaces.
    made: PathBuf,
}

impl RunFolder {
    /// A folder to train into. One that holds a run already is refused unless `overwrite`; that run stays until the new one
    /// is finished.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, RunError> {
        let there = path.join(INFO).exists();
        if there && !overwrite {
            return Err(RunError::Exists { path: path.to_owned() });
        }
        if Checkpoints::exist(&path.join(CHECKPOINT)) && !overwrite {
            return Err(RunError::Unfinished { path: path.to_owned() });
        }
        let made = if there { beside(path, ".new") } else { path.to_owned() };
        fs::create_dir_all(&made).map_err(|cause| RunError::Write { path: made.clone(), cause })?;
        Ok(Self { path: path.to_owned(), made })
    }

    /// The folder of an unfinished training, which may have to replace a finished run in the end.
    pub fn resume(path: &Path) -> Result<Self, RunError> {
        let new = beside(path, ".new");
        match (path.join(INFO).exists(), new.is_dir()) {
            (true, false) => Err(RunError::Finished { path: path.to_owned() }),
            (true, true) => Ok(Self { path: path.to_owned(), made: new }),
            (false, _) => Self::create(path, true),
        }
    }

    /// A folder with a finished run.
    pub fn open(path: &Path) -> Result<(Self, RunInfo), RunError> {
        let folder = Self { path: path.to_owned(), made: path.to_owned() };
        let text =
            fs::read_to_string(path.join(INFO)).map_err(|cause| RunError::NoRun { path: path.to_owned(), cause })?;
        let info = serde_json::from_str(&text).map_err(|cause| RunError::Corrupt { path: path.join(INFO), cause })?;
        Ok((folder, info))
    }

    /// Marks the run as finished, and puts it in the place of the one that it replaces.
    pub fn finish(self, info: &RunInfo) -> Result<(), RunError> {
        let write = |cause| RunError::Write { path: self.path.clone(), cause };
        let json = serde_json::to_string_pretty(info).map_err(|error| write(error.into()))?;
        whole_file::write(&self.made.join(INFO), (json + "\n").as_bytes()).map_err(write)?;
        if self.made == self.path {
            return Ok(());
        }
        let old = beside(&self.path, ".old");
        fs::rename(&self.path, &old).and_then(|()| fs::rename(&self.made, &self.path)).map_err(write)?;
        fs::remove_dir_all(&old).map_err(write)
    }

    /// The recipe as resolved.
    pub fn recipe(&self) -> PathBuf {
        self.made.join("recipe.toml")
    }

    /// The trained adapters.
    pub fn adapters(&self) -> PathBuf {
        self.made.join("adapters.safetensors")
    }

    /// Where an unfinished training goes on from.
    pub fn checkpoint(&self) -> PathBuf {
        self.made.join(CHECKPOINT)
    }

    /// What training measured.
    pub fn metrics(&self) -> PathBuf {
        self.made.join("metrics.jsonl")
    }
}

/// A finished run has this file, which comes last.
const INFO: &str = "run.json";
/// An unfinished training may have this one.
const CHECKPOINT: &str = "checkpoint.safetensors";

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_both_sides() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let trained = map(&[("plugin", "candle-text"), ("pooling", "mean")]);
        let present = map(&[("plugin", "candle-text"), ("pooling", "cls")]);
        assert_eq!(differences(&trained, &present), ["pooling = mean", "pooling = cls"]);
    }

    #[test]
    fn a_finished_run_is_not_overwritten_by_accident() {
        let folder = tempfile::tempdir().unwrap();
        let info = RunInfo { fusemix: "0".into(), seed: 1, device: "cpu".into(), pairs: 2, towers: vec![] };
        let path = folder.path().join("run");
        let run = RunFolder::create(&path, false).unwrap();
        assert!(matches!(RunFolder::open(&path), Err(RunError::NoRun { .. })));
        run.finish(&info).unwrap();
        assert_eq!(RunFolder::open(&path).unwrap().1, info);
        assert!(matches!(RunFolder::create(&path, false), Err(RunError::Exists { .. })));
        let run = RunFolder::create(&path, true).unwrap();
        fs::write(run.metrics(), "new").unwrap();
        assert_eq!(RunFolder::open(&path).unwrap().1, info, "the old run stays until the new one is there");
        run.finish(&RunInfo { seed: 2, ..info }).unwrap();
        let (run, info) = RunFolder::open(&path).unwrap();
        assert_eq!((info.seed, fs::read_to_string(run.metrics()).unwrap().as_str()), (2, "new"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
