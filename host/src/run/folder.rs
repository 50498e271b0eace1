//! The files of a run folder, and the replacement of an old run by a new one.

use std::fs;
use std::path::{Path, PathBuf};

use super::error::RunError;
use super::info::RunInfo;
use crate::fit::fusemix::Checkpoints;
use crate::whole_file::{self, beside};

/// The paths of a run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The folder of the run in progress: another one if `path` still holds the run that it replaces.
    made: PathBuf,
}

impl RunFolder {
    /// A folder to train into. A folder that already holds a run is refused unless `overwrite`; that run stays until
    /// the new one is finished.
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

    /// The folder of an unfinished training, which may replace a finished run in the end.
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

    /// Marks the run as finished, and replaces the previous run.
    pub fn finish(self, info: &RunInfo) -> Result<(), RunError> {
        let write = |cause| RunError::Write { path: self.path.clone(), cause };
        let json = serde_json::to_string_pretty(info).map_err(|error| write(error.into()))?;
        whole_file::write(&self.made.join(INFO), (json + "\n").as_bytes()).map_err(write)?;
        // From here on the run is whole, and needs none.
        Checkpoints::remove_at(&self.checkpoint());
        if self.made == self.path {
            return Ok(());
        }
        let old = beside(&self.path, ".old");
        fs::rename(&self.path, &old).and_then(|()| fs::rename(&self.made, &self.path)).map_err(write)?;
        fs::remove_dir_all(&old).map_err(write)
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The recipe as resolved.
    pub fn recipe(&self) -> PathBuf {
        self.made.join("recipe.toml")
    }

    /// The trained adapters.
    pub fn adapters(&self) -> PathBuf {
        self.made.join("adapters.safetensors")
    }

    /// The checkpoint from which an unfinished training resumes.
    pub fn checkpoint(&self) -> PathBuf {
        self.made.join(CHECKPOINT)
    }

    /// The metrics of the training.
    pub fn metrics(&self) -> PathBuf {
        self.made.join("metrics.jsonl")
    }
}

/// The file that marks a finished run, written last.
const INFO: &str = "run.json";
/// The checkpoint, which an unfinished training may have.
const CHECKPOINT: &str = "checkpoint.safetensors";

#[cfg(test)]
mod tests {
    use super::*;

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
        // As a shell completes it.
        let run = RunFolder::create(&folder.path().join("run/"), true).unwrap();
        fs::write(run.metrics(), "new").unwrap();
        assert_eq!(RunFolder::open(&path).unwrap().1, info, "the old run stays until the new one is there");
        run.finish(&RunInfo { seed: 2, ..info }).unwrap();
        let (run, info) = RunFolder::open(&path).unwrap();
        assert_eq!((info.seed, fs::read_to_string(run.metrics()).unwrap().as_str()), (2, "new"));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
