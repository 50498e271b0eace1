//! The replacement of a finished run by a new one, which can be stopped anywhere: one of the two is always there.
//!
//! The new run is made in `RUN.new`, with the file `replaces` in it. Then the two folders change names, and the file and
//! the old run go. Where a system cannot exchange folders, the old run is in `RUN.old` for a moment.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::whole_file::{self, beside};

/// The file that tells the new run from the old one.
const MARK: &str = "replaces";

/// The folder in which the run that will replace the one at `path` is made.
pub(super) fn new(path: &Path) -> PathBuf {
    beside(path, ".new")
}

fn old(path: &Path) -> PathBuf {
    beside(path, ".old")
}

/// Marks the folder of a new run.
pub(super) fn mark(made: &Path) -> io::Result<()> {
    fs::write(made.join(MARK), "")
}

/// The whole run that is there while a replacement is stopped, or goes on; none if `path` itself holds one, or nothing
/// does.
pub(super) fn whole(path: &Path, is_run: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if is_run(path) {
        return None;
    }
    [new(path), old(path)].into_iter().find(|folder| is_run(folder))
}

/// Completes, or takes back, a replacement that was stopped. Only who may train into `path` may call this.
pub(super) fn recover(
    path: &Path,
    is_run: impl Fn(&Path) -> bool,
    is_unfinished: impl Fn(&Path) -> bool,
) -> io::Result<()> {
    let (new, old) = (new(path), old(path));
    if is_run(&old) {
        match (is_run(path), path.exists()) {
            (true, _) => fs::remove_dir_all(&old)?,
            (false, false) => fs::rename(&old, path)?,
            // Somebody made another folder: nothing of it is touched.
            (false, true) => {}
        }
    }
    if is_run(path) {
        unmark(path);
    }
    let is_marked = new.join(MARK).exists();
    match (is_run(&new), is_marked) {
        (true, true) if is_run(path) => replace(path, &new),
        (true, true) if !path.exists() => {
            fs::rename(&new, path)?;
            unmark(path);
            Ok(())
        }
        // The run that was replaced, or what is left of it.
        (_, false) if new.is_dir() && is_run(path) && !is_unfinished(&new) => fs::remove_dir_all(&new),
        _ => Ok(()),
    }
}

/// Puts the folder `made` in the place of `path`, and removes what was there.
pub(super) fn replace(path: &Path, made: &Path) -> io::Result<()> {
    let gone = match exchange(path, made) {
        Ok(()) => made.to_owned(),
        // `recover` knows what to make of each moment in between.
        Err(error) if cannot(&error) => {
            let old = old(path);
            fs::rename(path, &old)?;
            fs::rename(made, path)?;
            old
        }
        Err(error) => return Err(error),
    };
    whole_file::sync_folder(path)?;
    unmark(path);
    // A run that stays takes only room, and goes with the next one.
    if let Err(error) = fs::remove_dir_all(&gone) {
        tracing::warn!("cannot remove the run that was replaced, {}: {error}", gone.display());
    }
    Ok(())
}

fn unmark(run: &Path) {
    let _ = fs::remove_file(run.join(MARK));
}

/// Lets two folders change names at once.
fn exchange(one: &Path, other: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_vendor = "apple"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }
    #[cfg(not(any(target_os = "linux", target_vendor = "apple")))]
    {
        let _ = (one, other);
        Err(ErrorKind::Unsupported.into())
    }
}

/// True if a file system, or a system, knows no exchange.
fn cannot(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::Unsupported | ErrorKind::InvalidInput)
}
