//! The folders that the files in a table's cells are relative to: where several files are one table, that of each.

use std::path::{Path, PathBuf};

/// The folders of a table's rows.
#[derive(Clone, Debug)]
pub(super) struct Roots {
    /// Each folder behind the first row of the file that is relative to it; rows rise from 0.
    folders: Vec<(usize, PathBuf)>,
    /// The folder that all are in.
    shared: PathBuf,
}

impl Roots {
    /// One folder for all rows.
    pub(super) fn one(folder: &Path) -> Self {
        Self { folders: vec![(0, folder.to_owned())], shared: folder.to_owned() }
    }

    /// The folder of a row of the file, from 0.
    pub(super) fn of(&self, row: usize) -> &Path {
        let after = self.folders.partition_point(|(first, _)| *first <= row);
        &self.folders[after.saturating_sub(1)].1
    }

    /// The path of a row's folder from the one that all are in; an empty one if it is that.
    pub(super) fn inner(&self, row: usize) -> &Path {
        match self.folders.len() {
            1 => Path::new(""),
            _ => self.of(row).strip_prefix(&self.shared).unwrap_or(Path::new("")),
        }
    }

    /// Adds the folders of another table, whose rows come behind `rows` of this one.
    pub(super) fn append(&mut self, rows: usize, others: &Self) {
        for (first, folder) in &others.folders {
            if self.folders.last().is_none_or(|(_, last)| last != folder) {
                self.folders.push((rows + first, folder.clone()));
            }
        }
        self.shared = shared(&self.shared, &others.shared);
    }
}

/// The folder that two paths are in, or are.
pub(super) fn shared(one: &Path, other: &Path) -> PathBuf {
    one.components().zip(other.components()).take_while(|(one, other)| one == other).map(|(one, _)| one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_row_has_the_folder_of_its_file() {
        let folder = |path: &str| Roots::one(Path::new(path));
        let mut roots = folder("data/a");
        assert_eq!((roots.of(7), roots.inner(7)), (Path::new("data/a"), Path::new("")));
        // A file without rows, two in one folder, and one deeper.
        for (rows, path) in [(0, "data/b"), (3, "data/b"), (5, "data/c/d")] {
            roots.append(rows, &folder(path));
        }
        let found: Vec<&Path> = [0, 2, 3, 4, 5, 99].map(|row| roots.of(row)).to_vec();
        let [b, d] = ["data/b", "data/c/d"].map(Path::new);
        assert_eq!(found, [b, b, b, b, d, d]);
        assert_eq!((roots.inner(1), roots.inner(6)), (Path::new("b"), Path::new("c/d")));
        roots.append(9, &folder("data"));
        assert_eq!((roots.of(9), roots.inner(9)), (Path::new("data"), Path::new("")));
        assert_eq!(shared(Path::new("/x/y"), Path::new("z")), Path::new(""));
    }
}
