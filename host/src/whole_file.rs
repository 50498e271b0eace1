//! Files that exist completely or not at all, whenever the program or the machine stops.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// The path beside `path` whose name has this suffix; a slash at the end of `path` is no part of its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.components().as_path().as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

/// `path` without a slash at its end; that of the folder itself where `path` is a link to it, or relative to others.
pub(crate) fn named(path: &Path) -> PathBuf {
    let short = path.components().as_path();
    match short.file_name().is_none() || short.is_symlink() {
        true => short.canonicalize().unwrap_or_else(|_| short.to_owned()),
        false => short.to_owned(),
    }
}

/// True if this process, and the shell that started it, are in `folder`.
pub(crate) fn holds_this_process(folder: &Path) -> bool {
    let here = std::env::current_dir().and_then(|here| here.canonicalize());
    here.and_then(|here| Ok(here.starts_with(folder.canonicalize()?))).unwrap_or(false)
}

/// The path at which a file is written before it is put in place.
pub(crate) fn part(path: &Path) -> PathBuf {
    beside(path, ".part")
}

/// Writes `path`, or leaves it unchanged on failure.
pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = PartFile::create(path)?;
    file.write(bytes)?;
    file.finish()
}

/// Writes `path` whole, or not at all; a file that is there already is an error. The command line makes such files.
#[cfg(feature = "cli")]
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    sync_folder(path)
}

/// A file that is written piece by piece. It appears under its name once it is complete; otherwise it leaves nothing.
pub(crate) struct PartFile {
    path: PathBuf,
    part: PathBuf,
    file: BufWriter<File>,
    finished: bool,
}

impl PartFile {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        // A new file takes the place of what is there, which must not be a device.
        match fs::metadata(path) {
            Ok(there) if there.is_dir() => {
                return Err(io::Error::new(io::ErrorKind::IsADirectory, "it is a folder; name a file"));
            }
            Ok(there) if !there.is_file() => {
                return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a device or a pipe; name a file"));
            }
            _ => {}
        }
        // What a link leads to is replaced, and not the link.
        let path = &if path.is_symlink() {
            fs::canonicalize(path).unwrap_or_else(|_| path.to_owned())
        } else {
            path.to_owned()
        };
        let part = part(path);
        let file = BufWriter::new(File::create(&part)?);
        Ok(Self { path: path.to_owned(), part, file, finished: false })
    }

    /// The path under which it will appear.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)
    }

    /// Makes the complete, synced file appear.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.file.flush()?;
        put_in_place(self.file.get_ref(), &self.part, &self.path)?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        if !self.finished {
            let _ = fs::remove_file(&self.part);
        }
    }
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for path in [socket.as_path(), folder.path(), Path::new("/dev/null")] {
            assert!(write(path, b"x").is_err(), "{}", path.display());
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let (file, link) = (folder.path().join("file"), folder.path().join("link"));
        write(&file, b"old").unwrap();
        std::os::unix::fs::symlink("file", &link).unwrap();
        write(&link, b"new").unwrap();
        assert!(link.is_symlink() && fs::read(&file).unwrap() == b"new");
    }
}
