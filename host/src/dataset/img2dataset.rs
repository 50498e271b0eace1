//! What img2dataset writes: rows with a `status`, of which only those with "success" have a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::json::plain;
use super::table::Table;
use crate::regular;
use crate::wording::{count, short_path};

const SUCCESS: &str = "success";
const FAILED: [&str; 2] = ["failed_to_download", "failed_to_resize"];

/// The table without rows that were not downloaded, and a note of them, if it is one of img2dataset.
pub(super) fn survivors(table: Table) -> Table {
    let column = |name: &str| table.names.iter().position(|column| column == name);
    let (Some(status), Some(_), Some(_)) = (column("status"), column("url"), column("key")) else { return table };
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut rows = Vec::new();
    for row in 0..table.rows {
        let cell = String::from_utf8_lossy(table.columns[status].cell(row)).into_owned();
        // Of a row that cannot be read nothing is known.
        if cell == SUCCESS || table.broken.contains_key(&row) {
            rows.push(row);
        }
        *found.entry(cell).or_default() += 1;
    }
    // `status` is another's.
    if !found.contains_key(SUCCESS) && !found.keys().all(|status| FAILED.contains(&status.as_str())) {
        return table;
    }
    let mut table = if rows.len() == table.rows { table } else { table.take(&rows) };
    table.format = "img2dataset";
    if let Some(note) = note(&found) {
        tracing::warn!("{}: {note}", short_path(&table.path).display());
        table.notes.push(note);
    }
    table
}

/// What the files `NNNNN_stats.json` of a folder say in sum.
pub(super) fn statistics(files: &[PathBuf]) -> Option<String> {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let is_statistics = |path: &Path| path.to_str().is_some_and(|path| path.ends_with("_stats.json"));
    for file in files.iter().filter(|path| is_statistics(path)) {
        let read = regular::read_text(file, regular::BY_HAND).ok();
        let Some(object) = read.and_then(|text| serde_json::from_str::<serde_json::Value>(&text).ok()) else {
            continue;
        };
        let number = |key: &str| plain(object.get(key)).and_then(|number| number.parse::<usize>().ok()).unwrap_or(0);
        for (key, status) in [
            ("successes", SUCCESS),
            ("failed_to_download", "failed_to_download"),
            ("failed_to_resize", "failed_to_resize"),
        ] {
            *found.entry(status.to_owned()).or_default() += number(key);
        }
    }
    note(&found)
}

/// The rows by status in words; none if all were downloaded.
fn note(found: &BTreeMap<String, usize>) -> Option<String> {
    let (all, whole) = (found.values().sum::<usize>(), found.get(SUCCESS).copied().unwrap_or(0));
    let lost: Vec<String> = found
        .iter()
        .filter(|(status, rows)| *status != SUCCESS && **rows > 0)
        .map(|(status, rows)| format!("{rows} {}", if status.is_empty() { "without a status" } else { status }))
        .collect();
    (whole < all).then(|| format!("{whole} of {} were downloaded; {}", count(all, "row"), lost.join(", ")))
}
