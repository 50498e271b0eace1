//! The files of a run folder, and the replacement of an old run by a new one.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::RunError;
use super::info::RunInfo;
use super::lock::{is_locked, locked};
use super::names::{self, ADAPTERS, CHECKPOINT, CHOICE, INFO, METRICS, RECIPE, RESOLVED, SEEN};
use super::replace;
use crate::file_lock::PathLock;
use crate::fit::fusemix::Checkpoints;
use crate::regular;
use crate::whole_file::{self, holds_this_process, named};

/// What a gallery has, and no run.
const GALLERY: &str = "gallery.json";

/// The paths of a run folder.
#[derive(Clone, Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The folder of the run in progress: another one if `path` still holds the run that it replaces.
    made: PathBuf,
    /// Held while training.
    _held: Option<Arc<Held>>,
}

/// The right to write into a folder. One that was made for it goes with it, if it stayed empty.
#[derive(Debug)]
struct Held {
    _lock: PathLock,
    made: Option<PathBuf>,
}

impl Drop for Held {
    fn drop(&mut self) {
        if let Some(made) = &self.made {
            replace::remove_empty(made);
        }
    }
}

impl RunFolder {
    /// A folder to train into. A folder that already holds a run is refused unless `overwrite`; that run stays until
    /// the new one is finished.
    pub fn create(path: &Path, overwrite: bool) -> Result<Self, RunError> {
        let (path, lock) = locked(path)?;
        let there = is_run(&path);
        if there && !overwrite {
            return Err(match replace::unfinished(&path, is_run) {
                Some(made) => RunError::ExistsTwice { path, made },
                None => RunError::Exists { path },
            });
        }
        if Checkpoints::exist(&path.join(CHECKPOINT)) && !overwrite {
            return Err(RunError::Unfinished { path });
        }
        if !there && let Some(name) = names::of_user(&path) {
            return Err(RunError::OfUser { path, name });
        }
        Self::begin(path, there, lock)
    }

    /// True if there is a finished run in `path`.
    pub fn is_in(path: &Path) -> bool {
        is_run(path)
    }

    /// A file or folder at `path` that this program did not make, if `path` is a folder without a run.
    pub fn foreign(path: &Path) -> Option<String> {
        if is_run(path) {
            return None;
        }
        names::foreign(path)
    }

    /// The folder of an unfinished training, which may replace a finished run in the end.
    pub fn resume(path: &Path) -> Result<Self, RunError> {
        let (path, lock) = locked(path)?;
        let there = is_run(&path);
        let new = replace::new(&path);
        if there && !(new.is_dir() && (replace::is_free(&new) || Checkpoints::exist(&new.join(CHECKPOINT)))) {
            return Err(RunError::Finished { path });
        }
        Self::begin(path, there, lock)
    }

    fn begin(path: PathBuf, replaces: bool, lock: PathLock) -> Result<Self, RunError> {
        if replaces && holds_this_process(&path) {
            return Err(RunError::Current { path });
        }
        let made = if replaces { replace::new(&path) } else { path.clone() };
        if replaces && !replace::is_free(&made) && !Checkpoints::exist(&made.join(CHECKPOINT)) {
            return Err(RunError::Taken { path: made });
        }
        let is_new = !made.exists();
        let write = |cause| RunError::Write { path: made.clone(), cause };
        fs::create_dir_all(&made).map_err(write)?;
        let held = Held { _lock: lock, made: is_new.then(|| made.clone()) };
        if replaces {
            replace::mark(&made).map_err(write)?;
        }
        Ok(Self { path, made, _held: Some(Arc::new(held)) })
    }

    /// A folder with a finished run.
    pub fn open(path: &Path) -> Result<(Self, RunInfo), RunError> {
        let made = replace::whole(&named(path), is_run).unwrap_or_else(|| path.to_owned());
        let info = made.join(INFO);
        let bytes = regular::read(&info, regular::BY_HAND).map_err(|cause| match cause.kind() {
            _ if path.is_file() => RunError::NoFolder { path: path.to_owned(), made: false },
            ErrorKind::NotFound if path.join(GALLERY).exists() => RunError::Gallery { path: path.to_owned() },
            ErrorKind::NotFound => RunError::NoRun { path: path.to_owned() },
            _ => RunError::Read { path: info.clone(), cause },
        })?;
        let read = serde_json::from_slice(&bytes).map_err(|cause| RunError::Corrupt { path: info, cause })?;
        if let Some(new) = replace::unfinished(&named(path), is_run).filter(|_| !is_locked(&named(path))) {
            let (new, path) = (new.display(), path.display());
            tracing::warn!(
                "{new} holds a training that was stopped before its run could replace {path}; go on with it with \
                 `fusemix train RECIPE --out {path} --resume`, or delete {new}"
            );
        }
        Ok((Self { path: path.to_owned(), made, _held: None }, read))
    }

    /// An error if a file is missing that every finished run has.
    pub fn check_whole(&self) -> Result<(), RunError> {
        match [RECIPE, ADAPTERS].into_iter().find(|name| !self.made.join(name).exists()) {
            Some(name) => Err(RunError::Incomplete { path: self.path.clone(), name }),
            None => Ok(()),
        }
    }

    /// Marks the run as finished, and replaces the previous run.
    pub fn finish(self, info: &RunInfo) -> Result<(), RunError> {
        let write = |cause| RunError::Write { path: self.made.clone(), cause };
        let json = serde_json::to_string_pretty(info).map_err(|error| write(error.into()))?;
        whole_file::write(&self.made.join(INFO), (json + "\n").as_bytes()).map_err(write)?;
        // From here on the run is whole, and needs none.
        Checkpoints::remove_at(&self.checkpoint());
        if self.made != self.path {
            replace::replace(&self.path, &self.made).map_err(|cause| RunError::Replace {
                path: self.path.clone(),
                made: self.made.clone(),
                cause,
            })?;
        }
        Ok(())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes the recipe as resolved.
    pub fn write_recipe(&self, text: &str) -> Result<(), RunError> {
        let path = self.recipe();
        let text = format!("{RESOLVED}\n{text}");
        whole_file::write(&path, text.as_bytes()).map_err(|cause| RunError::Write { path, cause })
    }

    /// The recipe as resolved.
    pub fn recipe(&self) -> PathBuf {
        self.made.join(RECIPE)
    }

    /// The trained adapters.
    pub fn adapters(&self) -> PathBuf {
        self.made.join(ADAPTERS)
    }

    /// The items and pairs that were trained on.
    pub fn seen(&self) -> PathBuf {
        self.made.join(SEEN)
    }

    /// The checkpoint from which an unfinished training resumes.
    pub fn checkpoint(&self) -> PathBuf {
        self.made.join(CHECKPOINT)
    }

    /// What a method was chosen from.
    pub fn choice(&self) -> PathBuf {
        self.made.join(CHOICE)
    }

    /// The metrics of the training.
    pub fn metrics(&self) -> PathBuf {
        self.made.join(METRICS)
    }
}

pub(super) fn is_run(folder: &Path) -> bool {
    folder.join(INFO).exists()
}

#[cfg(test)]
mod tests;
