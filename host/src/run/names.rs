//! The names of the files that this program makes in a run folder: all others are the user's.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use crate::regular;

/// The line that tells a recipe of a run from one of the user's.
pub(super) const RESOLVED: &str = "# As fusemix resolved it.";

/// The file that marks a finished run, written last.
pub(super) const INFO: &str = "run.json";
pub(super) const RECIPE: &str = "recipe.toml";
pub(super) const ADAPTERS: &str = "adapters.safetensors";
pub(super) const SEEN: &str = "seen.safetensors";
pub(super) const METRICS: &str = "metrics.jsonl";
pub(super) const CHOICE: &str = "choice.json";
/// The checkpoint, which an unfinished training may have.
pub(super) const CHECKPOINT: &str = "checkpoint.safetensors";
/// The file in a new run that will replace another, and that in the old one once the new one is finished.
pub(super) const MARK: &str = "replaces";
pub(super) const GONE: &str = "replaced";

/// What a training leaves beside its checkpoint.
const OF_TRAINING: [&str; 4] =
    ["checkpoint.previous.safetensors", "checkpoint.next.safetensors", "training.json", "start.safetensors"];

/// True for a file of this program, whole or in the making.
pub(super) fn is_own(name: &OsStr) -> bool {
    let name = name.to_str().unwrap_or_default();
    let name = name.strip_suffix(".part").unwrap_or(name);
    [INFO, RECIPE, ADAPTERS, SEEN, METRICS, CHOICE, CHECKPOINT, MARK, GONE].contains(&name)
        || OF_TRAINING.contains(&name)
}

/// A file or folder in a folder that is not of this program.
pub(super) fn foreign(folder: &Path) -> Option<String> {
    let mut names = fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name());
    names.find(|name| !is_own(name)).map(|name| name.to_string_lossy().into_owned())
}

/// A file of a folder without a run that a training would write, and that none has written.
pub(super) fn of_user(folder: &Path) -> Option<&'static str> {
    let is_resolved = |recipe: String| recipe.lines().take(3).any(|line| line == RESOLVED);
    match regular::read_text(&folder.join(RECIPE), regular::BY_HAND).map(is_resolved) {
        Ok(true) => None,
        Ok(false) => Some(RECIPE),
        // Training writes its recipe first.
        Err(_) => [RECIPE, METRICS].into_iter().find(|name| folder.join(name).exists()),
    }
}
