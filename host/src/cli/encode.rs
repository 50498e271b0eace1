//! `fusemix encode`: fill the cache.

use anyhow::Result;
use std::path::PathBuf;
use std::sync::Arc;

use super::exit;
use super::progress::Meter;
use super::session::Session;
use crate::cache::Store;
use crate::dataset::{Column, Items, Table};
use crate::encode::{Encoding, Summary, encode};
use crate::plugin::LoadedEncoder;

/// Failures are listed up to this many; `--json` has them all.
const LISTED: usize = 20;

/// Fill the latent cache.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The table with the items: .tsv or .csv with a header
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The encoder's name in plugins.toml
    #[arg(long, value_name = "NAME")]
    encoder: String,
    /// The column with the items; needed where its name does not tell
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// Send items again that failed before
    #[arg(long)]
    retry_failed: bool,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let table = Table::read(&arguments.data)?;
    let encoder = session.open(&arguments.encoder)?;
    let column = column(&table, arguments.column.as_deref(), &encoder)?;
    let store = session.store(&encoder)?;
    let Encoding { summary, .. } = fill(session, &encoder, &store, column, arguments.retry_failed)?;
    if session.json {
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        say!("{}", line(&encoder.name, &summary));
    }
    Ok(code(&summary))
}

/// The named column, or the usual one for the encoder's items.
pub(super) fn column<'a>(table: &'a Table, name: Option<&str>, encoder: &LoadedEncoder) -> Result<Column<'a>> {
    Ok(match name {
        Some(name) => table.column(name)?,
        None => table.usual_column(encoder.description.modality.name())?,
    })
}

/// Encodes a column under a progress bar, and lists on standard error what failed.
pub(super) fn fill(
    session: &Session,
    encoder: &Arc<LoadedEncoder>,
    store: &Store,
    column: Column<'_>,
    retry_failed: bool,
) -> Result<Encoding> {
    let items = Items::new(column, &encoder.description.modality);
    let services = &session.services;
    let mut meter = Meter::new(format!("encoding with {}", encoder.name), items.len(), "rows");
    let encoding = encode(items, encoder, store, retry_failed, services, &mut |progress| {
        let mut note = services.status();
        if progress.failed > 0 {
            note = format!("({} failed) {note}", progress.failed);
        }
        meter.show(progress.done, progress.total, &note);
    });
    meter.end();
    let encoding = encoding?;
    for failure in encoding.summary.failures.iter().take(LISTED) {
        eprintln!("{}: row {}, {}: {}", column.source().display(), failure.row, failure.item, failure.reason);
    }
    if encoding.summary.failed > LISTED {
        eprintln!("... and {} more rows; `fusemix encode --json` lists them all", encoding.summary.failed - LISTED);
    }
    if encoding.summary.remembered > 0 {
        let (items, encoder) = (encoding.summary.remembered, &encoder.name);
        eprintln!(
            "{items} items failed in an earlier run; `fusemix encode --encoder {encoder} --retry-failed` sends them again"
        );
    }
    Ok(encoding)
}

/// A summary in one line.
pub(super) fn line(encoder: &str, summary: &Summary) -> String {
    let Summary { rows, encoded, cached, duplicates, truncated, damaged, failed, .. } = summary;
    let mut line = format!("{encoder}: {rows} rows, {encoded} encoded, {cached} already cached, {failed} failed");
    for (count, what) in [(duplicates, "duplicates"), (truncated, "truncated"), (damaged, "damaged in the cache")] {
        if *count > 0 {
            line += &format!(", {count} {what}");
        }
    }
    for (unit, amount) in &summary.usage {
        line += &format!(", {amount} {unit}");
    }
    if summary.stopped {
        line += "; stopped: run it again to go on";
    }
    line
}

/// The exit code of a command that ends with this summary.
pub(super) fn code(summary: &Summary) -> u8 {
    match summary {
        Summary { stopped: true, .. } => exit::STOPPED,
        Summary { not_finite: 1.., .. } => exit::NOT_FINITE,
        Summary { failed: 1.., .. } => exit::SOME_FAILED,
        _ => 0,
    }
}
