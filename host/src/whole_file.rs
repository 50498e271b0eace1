//! Files that exist completely or not at all, whenever the program or the machine stops.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The path beside `path` whose name has this suffix; a slash at the end of `path` is no part of its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// The path at which a file is written before it is put in place.
pub(crate) fn part(path: &Path) -> PathBuf {
    beside(path, ".part")
}

/// Writes `path`, or leaves it unchanged on failure.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part(path);
    let written = File::create(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        put_in_place(&file, &part, path)
    });
    written.inspect_err(|_| drop(fs::remove_file(&part)))
}

/// Gives a written file its name, durably.
pub(crate) fn put_in_place(file: &File, part: &Path, path: &Path) -> io::Result<()> {
    file.sync_all()?;
    fs::rename(part, path)?;
    sync_folder(path)
}

/// Makes renamed or created files in the folder of `path` durable, if the system supports that for folders.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
