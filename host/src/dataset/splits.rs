//! The splits that names of files and folders tell.

use std::path::{Path, PathBuf};

use super::cells::Cells;
use super::error::DataError;
use super::fields::name;
use super::format;
use super::shards;
use super::table::Table;
use super::usual::SPLITS;
use super::wanted::Wanted;

/// Gives all rows a split, unless they have one.
pub(super) fn with_split(table: &mut Table, split: &str) {
    if !table.names.iter().any(|name| name == "split") {
        let mut cells = Cells::default();
        (0..table.rows).for_each(|_| cells.push(split.as_bytes()));
        table.names.push("split".to_owned());
        table.columns.push(cells);
    }
}

/// Shards. Where their names begin with a split, as `train-00000-of-00002.parquet` does, or their folder is called so,
/// rows have it.
pub(super) fn split_shards(
    path: &Path,
    files: &[PathBuf],
    root: Option<&Path>,
    wanted: &Wanted,
) -> Result<Table, DataError> {
    splits_of(files, root, wanted)?.map_or_else(|| shards::read(path, files, root, wanted), Ok)
}

/// The table of files whose names, or folders, all say a split; none if some do not.
pub(super) fn splits_of(files: &[PathBuf], root: Option<&Path>, wanted: &Wanted) -> Result<Option<Table>, DataError> {
    let split = |file: &PathBuf| {
        let stem = file.file_stem()?.to_str()?.split(['-', '_', '.']).next()?.to_lowercase();
        let folder = || Some(name(file.parent()?).to_lowercase());
        [Some(stem), folder()].into_iter().flatten().find(|name| SPLITS.contains(&name.as_str()))
    };
    let Some(splits) = files.iter().map(split).collect::<Option<Vec<_>>>().filter(|splits| !splits.is_empty()) else {
        return Ok(None);
    };
    shards::joined(files, |part| {
        let mut table = format::part(part.path, &part.name, root, wanted)?;
        with_split(&mut table, &splits[part.number]);
        Ok(table)
    })
}
