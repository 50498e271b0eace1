//! The replacement of a finished run by a new one, which can be stopped anywhere: one of the two is always there.
//!
//! The new run is made in `RUN.new`, with the file `replaces` in it. In the end the old one gets the file `replaced`,
//! the two folders change names, what the user put into the old one is moved to the new one, and the old run goes.
//! Where a system cannot exchange folders, the old run is in `RUN.old` for a moment. Folders of these names without
//! these files are somebody else's, and stay as they are.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use super::names::{GONE, MARK, is_own};
use crate::whole_file::{self, beside};

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

/// Removes the folder of a new run in which nothing was left.
pub(super) fn remove_empty(made: &Path) {
    let names = fs::read_dir(made).into_iter().flatten().flatten().map(|entry| entry.file_name());
    if names.eq([MARK]) {
        let _ = fs::remove_file(made.join(MARK));
    }
    let _ = fs::remove_dir(made);
}

/// The whole run that is there while a replacement is stopped, or goes on; none if `path` itself holds one, or nothing
/// does.
pub(super) fn whole(path: &Path, is_run: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    if is_run(path) {
        return None;
    }
    let is_left = |(folder, mark): &(PathBuf, &str)| is_run(folder) && folder.join(mark).exists();
    [(new(path), MARK), (old(path), GONE)].into_iter().find(is_left).map(|(folder, _)| folder)
}

/// The folder of the run that was to replace the one at `path`, and is not finished.
pub(super) fn unfinished(path: &Path, is_run: impl Fn(&Path) -> bool) -> Option<PathBuf> {
    let new = new(path);
    (is_run(path) && !is_run(&new) && new.join(MARK).exists()).then_some(new)
}

/// True if the folder for the new run is free, or one that this program made.
pub(super) fn is_free(new: &Path) -> bool {
    let is_empty = || fs::read_dir(new).is_ok_and(|mut files| files.next().is_none());
    !new.exists() || new.join(MARK).exists() || is_empty()
}

/// Completes, or takes back, a replacement that was stopped. Only who may train into `path` may call this.
pub(super) fn recover(path: &Path, is_run: impl Fn(&Path) -> bool) -> io::Result<()> {
    let (new, old) = (new(path), old(path));
    if old.join(GONE).exists() {
        match (is_run(path), path.exists()) {
            (true, _) => clear(&old, path),
            (false, false) => fs::rename(&old, path)?,
            // Somebody made another folder: nothing of it is touched.
            (false, true) => {}
        }
    }
    if is_run(path) {
        unmark(path);
    }
    if is_run(path) && new.join(GONE).exists() {
        // The run that was replaced, or what is left of it.
        clear(&new, path);
        return Ok(());
    }
    match is_run(&new) && new.join(MARK).exists() {
        true if is_run(path) => replace(path, &new),
        true if !path.exists() => {
            fs::rename(&new, path)?;
            unmark(path);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Puts the folder `made` in the place of `path`, and removes what was there.
pub(super) fn replace(path: &Path, made: &Path) -> io::Result<()> {
    fs::write(path.join(GONE), "")?;
    let gone = match exchange(path, made) {
        Ok(()) => made.to_owned(),
        // `recover` knows what to make of each moment in between.
        Err(error) if cannot(&error) => {
            let old = old(path);
            fs::rename(path, &old)?;
            fs::rename(made, path)?;
            old
        }
        Err(error) => {
            unmark(path);
            return Err(error);
        }
    };
    whole_file::sync_folder(path)?;
    unmark(path);
    clear(&gone, path);
    Ok(())
}

/// Removes a run that was replaced. One that stays takes only room, and goes with the next one.
fn clear(gone: &Path, path: &Path) {
    if let Err(error) = remove(gone, path) {
        let gone = gone.display();
        tracing::warn!("cannot remove the run that was replaced, {gone}: {error}; remove what is left of it");
    }
}

/// Removes a run that was replaced by the one at `path`, and last the file that tells so. What the program did not make
/// is moved to the new run.
fn remove(gone: &Path, path: &Path) -> io::Result<()> {
    let mut own = Vec::new();
    for entry in fs::read_dir(gone)? {
        let entry = entry?;
        match entry.file_type()?.is_file() && is_own(&entry.file_name()) {
            true => own.push(entry.path()),
            false => {
                let named =
                    |cause: io::Error| io::Error::new(cause.kind(), format!("{}: {cause}", entry.path().display()));
                fs::rename(entry.path(), free(path.join(entry.file_name()))).map_err(named)?;
            }
        }
    }
    // Both folders: that of the new place, and that which is left.
    [path, gone].into_iter().try_for_each(|folder| whole_file::sync_folder(&folder.join(GONE)))?;
    own.retain(|file| !file.ends_with(GONE));
    own.into_iter().try_for_each(fs::remove_file)?;
    fs::remove_file(gone.join(GONE))?;
    fs::remove_dir(gone)
}

/// The path, or one like it where nothing is yet.
fn free(mut path: PathBuf) -> PathBuf {
    // A link that leads nowhere is there too.
    while path.symlink_metadata().is_ok() {
        path = beside(&path, ".old");
    }
    path
}

fn unmark(run: &Path) {
    for mark in [MARK, GONE] {
        let _ = fs::remove_file(run.join(mark));
    }
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
