//! A file of a hub on its way into the cache that the Python client shares: a blob called by its etag, and a link to
//! it.

use hf_hub::CacheRepo;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::client::{Answer, Client, header};

/// Downloads that break off before the last one.
const BREAKS: u32 = 5;
/// The wait before a download goes on.
const PAUSE: Duration = Duration::from_millis(300);
const CHUNK: usize = 1 << 16;

/// A file to fetch, and where to.
pub(crate) struct Blob<'a> {
    pub(crate) client: &'a Client,
    pub(crate) cache: &'a CacheRepo,
    pub(crate) commit: &'a str,
    pub(crate) name: &'a str,
    /// The path of the file on the hub.
    pub(crate) path: String,
    /// Is told bytes done, and all bytes if they are known.
    pub(crate) progress: &'a dyn Fn(u64, Option<u64>),
}

impl Blob<'_> {
    /// Fetches the file; one that was begun goes on where it ended, if the hub sends parts of files.
    pub(crate) fn fetch(&self) -> Result<PathBuf, String> {
        // One byte tells the etag, the size, and whether parts are sent.
        let first = self.client.get(&self.path, Some("bytes=0-0"))?;
        let size = size(&first);
        let etag = first.etag.clone().filter(|etag| !etag.is_empty()).unwrap_or_else(|| self.nameless());
        drop(first);
        let snapshot = self.cache.pointer_path(self.commit);
        let blobs = snapshot.ancestors().nth(2).unwrap_or(&snapshot).join("blobs");
        let (blob, part) = (blobs.join(&etag), blobs.join(format!("{etag}.part")));
        let unwritten = |error: io::Error| format!("{}: {error}", part.display());
        fs::create_dir_all(&blobs).map_err(unwritten)?;
        let lock = File::create(blobs.join(format!("{etag}.lock"))).map_err(unwritten)?;
        lock.lock().map_err(unwritten)?;
        let is_whole = |blob: &Path| fs::metadata(blob).is_ok_and(|blob| size.is_none_or(|size| blob.len() == size));
        if !is_whole(&blob) {
            self.fill(&part, size)?;
            fs::rename(&part, &blob).map_err(unwritten)?;
        }
        self.link(&blob).map_err(unwritten)
    }

    /// The name of a blob without an etag: that of the file, at its commit.
    fn nameless(&self) -> String {
        blake3::hash(format!("{} {}", self.commit, self.name).as_bytes()).to_hex().to_string()
    }

    /// Writes the rest of the file to `part`, however often the connection breaks.
    fn fill(&self, part: &Path, size: Option<u64>) -> Result<(), String> {
        let mut breaks = 0;
        loop {
            let error = match self.go_on(part, size) {
                Ok(done) if size.is_none_or(|size| done == size) => return Ok(()),
                Ok(done) => format!("{} ends after {done} of {} bytes", self.name, size.unwrap_or_default()),
                Err(Broken::Off(error)) => error,
                Err(Broken::Ever(error)) => return Err(error),
            };
            if breaks == BREAKS {
                return Err(format!("{error}, {} times", breaks + 1));
            }
            breaks += 1;
            self.client.wait(PAUSE)?;
        }
    }

    /// Asks for what `part` lacks, and returns its bytes then.
    fn go_on(&self, part: &Path, size: Option<u64>) -> Result<u64, Broken> {
        let unwritten = |error: io::Error| Broken::Ever(format!("{}: {error}", part.display()));
        let mut have = fs::metadata(part).map_or(0, |part| part.len());
        if size.is_some_and(|size| have > size) {
            have = 0;
        }
        if have > 0 && size == Some(have) {
            return Ok(have);
        }
        let range = format!("bytes={have}-");
        let answer = self.client.get(&self.path, Some(&range).filter(|_| have > 0).map(String::as_str));
        let answer = answer.map_err(Broken::Ever)?;
        let partial = match answer.response.status().as_u16() {
            206 if begins_at(&answer, have) => true,
            // The part is not of this file.
            206 | 416 => {
                fs::remove_file(part).map_err(unwritten)?;
                return Err(Broken::Off(format!("{} does not go on where it ended", self.name)));
            }
            // All of it, whatever was asked for.
            _ => false,
        };
        let mut options = OpenOptions::new();
        let options = options.create(true).write(true).append(partial).truncate(!partial);
        let mut file = options.open(part).map_err(unwritten)?;
        let mut done = if partial { have } else { 0 };
        let (mut reader, mut bytes) = (answer.response.into_body().into_reader(), vec![0; CHUNK]);
        loop {
            match reader.read(&mut bytes) {
                Ok(0) => return file.sync_all().map(|()| done).map_err(unwritten),
                Ok(read) => file.write_all(&bytes[..read]).map_err(unwritten).map(|()| done += read as u64)?,
                Err(error) => return Err(Broken::Off(format!("{} breaks off: {error}", self.name))),
            }
            (self.progress)(done, size);
        }
    }

    /// The snapshot's link to the blob; a copy where links are not allowed.
    fn link(&self, blob: &Path) -> io::Result<PathBuf> {
        let path = self.cache.pointer_path(self.commit).join(self.name);
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        if !path.exists() {
            // snapshots/COMMIT, and the folders of the name.
            let up = 1 + Path::new(self.name).components().filter(|part| matches!(part, Component::Normal(_))).count();
            let target = PathBuf::from("../".repeat(up)).join("blobs").join(blob.file_name().unwrap_or_default());
            let _ = fs::remove_file(&path);
            link(&target, &path).or_else(|_| fs::copy(blob, &path).map(drop))?;
        }
        Ok(path)
    }
}

#[cfg(unix)]
fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::unix::fs::symlink(target, path)
}

#[cfg(not(unix))]
fn link(target: &Path, path: &Path) -> io::Result<()> {
    std::os::windows::fs::symlink_file(target, path)
}

/// A download that did not come to its end.
enum Broken {
    /// It may go on.
    Off(String),
    Ever(String),
}

/// Bytes of the whole file, by the answer for its first byte, or for all of it.
fn size(answer: &Answer) -> Option<u64> {
    let response = &answer.response;
    let number = |text: &str| text.trim().parse().ok();
    match response.status().as_u16() {
        206 => header(response, "content-range")?.rsplit('/').next().and_then(number),
        200 => header(response, "content-length").and_then(number),
        _ => None,
    }
}

/// True if a part begins at this byte.
fn begins_at(answer: &Answer, byte: u64) -> bool {
    let range = header(&answer.response, "content-range").unwrap_or_default();
    let start = range.trim().strip_prefix("bytes").and_then(|range| range.trim().split('-').next());
    start.and_then(|start| start.trim().parse().ok()) == Some(byte)
}
