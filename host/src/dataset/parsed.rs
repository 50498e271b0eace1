//! Tables as their files have them, parsed once a process: what is chosen of a table shares its cells.

use std::collections::HashSet;
use std::fs::{Metadata, metadata};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::error::DataError;
use super::fields::{Field, ending};
use super::table::Table;
use super::visual_genome;
use super::wanted::Wanted;

/// Bytes of tables that are kept; of more, those that were used last.
const KEPT: usize = 1 << 30;
/// A file that changed less than this before it was read is not known again: on a file system with a coarse clock it
/// may change once more without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// A table, and what it was read from.
struct Parsed {
    path: PathBuf,
    root: Option<PathBuf>,
    wanted: Wanted,
    state: blake3::Hash,
    table: Table,
}

/// The tables that are kept, the one that was used last at the end.
static PARSED: Mutex<Vec<Parsed>> = Mutex::new(Vec::new());

/// The table at a path: one that is known, if its files are as they were, or what `read` makes of them.
pub(super) fn table(
    (path, root): (&Path, Option<&Path>),
    files: &[&Path],
    wanted: &Wanted,
    read: impl FnOnce() -> Result<Table, DataError>,
) -> Result<Table, DataError> {
    let started = SystemTime::now();
    let Some(before) = state(files, root, started) else { return read() };
    let is_it = |one: &Parsed| one.path == path && one.root.as_deref() == root;
    {
        let mut all = locked();
        all.retain(|one| !is_it(one) || one.state == before);
        let covers = |one: &Parsed| one.wanted.covers(wanted, |name| one.table.has(name));
        if let Some(at) = all.iter().position(|one| is_it(one) && covers(one)) {
            let known = all.remove(at);
            let table = known.table.clone();
            all.push(known);
            return Ok(table);
        }
    }
    let table = read()?;
    // Had its files changed meanwhile, their state would be another one when it is asked for again.
    if table.bytes() <= KEPT {
        let mut all = locked();
        all.retain(|one| !is_it(one) || !wanted.covers(&one.wanted, |name| table.has(name)));
        let (path, root) = (path.to_owned(), root.map(Path::to_owned));
        all.push(Parsed { path, root, wanted: wanted.clone(), state: before, table: table.clone() });
        while all.iter().map(|one| one.table.bytes()).sum::<usize>() > KEPT {
            all.remove(0);
        }
    }
    Ok(table)
}

fn locked() -> MutexGuard<'static, Vec<Parsed>> {
    PARSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The state of all that a table is read from, as its names, lengths and times tell it; none if one of them changed
/// only just before `now`, or is not there.
fn state(files: &[&Path], root: Option<&Path>, now: SystemTime) -> Option<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    let mut looked = HashSet::new();
    for file in files {
        hasher.update(file.as_os_str().as_encoded_bytes()).update(b"\0");
        // Of pictures and sounds only names are read.
        if Field::of_file(file).modality().is_some() {
            continue;
        }
        add(&mut hasher, &metadata(file).ok()?, now)?;
        if ending(file).as_deref() == Some("json") {
            // Names of pictures and sounds are looked up in these.
            let root = root.or(file.parent()).unwrap_or(Path::new(""));
            let folders = [root.to_owned()].into_iter().chain(visual_genome::FOLDERS.map(|folder| root.join(folder)));
            for folder in folders.filter(|folder| looked.insert(folder.clone())) {
                if let Ok(folder) = metadata(folder) {
                    add(&mut hasher, &folder, now)?;
                }
            }
        }
    }
    Some(hasher.finalize())
}

fn add(hasher: &mut blake3::Hasher, file: &Metadata, now: SystemTime) -> Option<()> {
    let changed = file.modified().ok()?;
    if now.duration_since(changed).ok()? < SETTLED {
        return None;
    }
    hasher.update(format!("{} {:?}", file.len(), changed.duration_since(UNIX_EPOCH).ok()?).as_bytes());
    #[cfg(unix)]
    hasher.update(&std::os::unix::fs::MetadataExt::ino(file).to_le_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::{Source, format};
    use std::cell::Cell;
    use std::fs::{File, write};

    /// Writes a file that changed an hour ago.
    fn settled(path: &Path, text: &str, seconds: u64) {
        write(path, text).unwrap();
        let file = File::options().write(true).open(path).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(3600 - seconds)).unwrap();
    }

    #[test]
    fn a_file_is_parsed_once_for_all_that_is_chosen_of_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let text: String = (0..100).map(|row| format!("{row}.png,caption {row},{row}\n")).collect();
        settled(&path, &format!("file,caption,score\n{text}"), 0);
        let parsed = Cell::new(0);
        let read = |wanted: &Wanted| {
            let read = || {
                parsed.set(parsed.get() + 1);
                format::file(&path, None, wanted)
            };
            table((&path, None), &[path.as_path()], wanted, read).unwrap()
        };
        let only = |names: &[&str]| Wanted::only(names.iter().map(|name| (*name).to_owned()));
        let two = read(&only(&["file", "caption"]));
        assert_eq!(two.columns.iter().map(|column| column.are_kept()).collect::<Vec<_>>(), [true, true, false]);
        read(&only(&["caption"]));
        assert_eq!(parsed.get(), 1);
        let chosen = two.take(&(0..50).collect::<Vec<_>>());
        let taken = Source { limit: Some(50), ..Source::new(&path) }.table().unwrap();
        assert_eq!((taken.len(), chosen.len()), (50, 50));
        // All columns are known by now.
        read(&only(&["score"]));
        read(&Wanted::ALL);
        let before = parsed.get();
        assert!(read(&only(&["caption", "score"])).column("caption").is_ok());
        assert_eq!(parsed.get(), before);
        settled(&path, "file,caption,score\na.png,another,1\n", 60);
        assert_eq!(read(&only(&["caption"])).column("caption").unwrap().text(0).unwrap(), "another");
        write(&path, "file,caption,score\na.png,anew,1\n").unwrap();
        assert_eq!(read(&only(&["caption"])).column("caption").unwrap().text(0).unwrap(), "anew");
        write(&path, "file,caption,score\na.png,new!,1\n").unwrap();
        assert_eq!(read(&only(&["caption"])).column("caption").unwrap().text(0).unwrap(), "new!");
    }

    #[test]
    fn a_folder_with_a_new_file_is_read_anew() {
        let folder = tempfile::tempdir().unwrap();
        settled(&folder.path().join("a.csv"), "x\n1\n", 0);
        let rows = || Source::new(folder.path()).table().unwrap().len();
        assert_eq!((rows(), rows()), (1, 1));
        settled(&folder.path().join("b.csv"), "x\n2\n", 0);
        assert_eq!(rows(), 2);
    }
}
