//! The entries of folders: those of one, and all files below it.

use std::path::{Path, PathBuf};

use super::error::DataError;

/// The deepest folder that is looked into.
const DEEPEST: usize = 8;

/// An entry of a folder.
pub(super) struct Entry {
    pub(super) path: PathBuf,
    /// True for a folder, and for a link to one.
    pub(super) is_folder: bool,
}

/// The entries of a folder in the order of their names, without hidden ones.
pub(super) fn entries(folder: &Path) -> Result<Vec<Entry>, DataError> {
    let failed = |cause| DataError::Read { path: folder.to_owned(), cause };
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            let path = entry.path();
            // The listing tells what an entry is, but of a link not what it leads to.
            let told = entry.file_type().ok().filter(|kind| !kind.is_symlink());
            entries.push(Entry { is_folder: told.map_or_else(|| path.is_dir(), |kind| kind.is_dir()), path });
        }
    }
    entries.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(entries)
}

/// The files below a folder, each folder in the order of names.
pub(super) fn files_below(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut files = Vec::new();
    walk(folder, DEEPEST, &mut Vec::new(), &mut files)?;
    Ok(files)
}

fn walk(folder: &Path, depth: usize, above: &mut Vec<PathBuf>, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    // A link to a folder that it is in would have all files again.
    let place = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    if above.contains(&place) {
        return Ok(());
    }
    above.push(place);
    for Entry { path, is_folder } in entries(folder)? {
        match is_folder {
            true if depth > 0 => walk(&path, depth - 1, above, files)?,
            true => {}
            false => files.push(path),
        }
    }
    above.pop();
    Ok(())
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::fs::{create_dir_all, write};
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_what_they_lead_to_and_a_folder_is_in_itself_once() {
        let [data, elsewhere] = [(); 2].map(|()| tempfile::tempdir().unwrap());
        let at = |name: &str| data.path().join(name);
        create_dir_all(at("b/c")).unwrap();
        for path in [at("b/c/1.jpg"), at("a.jpg"), at(".hidden"), elsewhere.path().join("2.jpg")] {
            write(path, "x").unwrap();
        }
        symlink(elsewhere.path(), at("linked")).unwrap();
        symlink(at("a.jpg"), at("b/link.jpg")).unwrap();
        symlink(data.path(), at("b/again")).unwrap();
        symlink(at("nowhere"), at("lost.jpg")).unwrap();
        let names = ["a.jpg", "b/c/1.jpg", "b/link.jpg", "linked/2.jpg", "lost.jpg"];
        assert_eq!(files_below(data.path()).unwrap(), names.map(at));
    }
}
