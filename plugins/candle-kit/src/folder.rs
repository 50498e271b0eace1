//! Folders of checkpoints.

use fusemix_sdk::Error;
use std::path::Path;

/// The names of the files in `folder`.
pub(crate) fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let unread = |error| Error::config(format!("{}: {error}", folder.display()));
    let entries = std::fs::read_dir(folder).and_then(Iterator::collect::<std::io::Result<Vec<_>>>).map_err(unread)?;
    Ok(entries.into_iter().flat_map(|entry| entry.file_name().into_string()).collect())
}
