//! Files with an item on each line: queries, ids.

use anyhow::{Context, Result};
use std::path::Path;

use crate::regular;

/// The largest of them.
const LARGEST: u64 = 1 << 30;

/// The lines of a file that are not blank.
pub(super) fn lines(path: &Path) -> Result<Vec<String>> {
    let text = regular::read_text(path, LARGEST).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    Ok(text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
}
