//! `fusemix encode`: fill the cache.

use anyhow::{Result, bail};
use indicatif::HumanDuration;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::exit;
use super::progress::Meter;
use super::session::Session;
use crate::cache::Store;
use crate::dataset::{Column, Items, Table};
use crate::encode::{Encoding, Forecast, Progress, Summary, Wanted, encode, forecast};
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
    /// Say what would be sent, and what it would cost and take; send nothing
    #[arg(long)]
    dry_run: bool,
    /// Send no more than so many items
    #[arg(long, value_name = "N")]
    max_items: Option<usize>,
    /// Send no more than costs this, by the encoder's price in plugins.toml
    #[arg(long, value_name = "COST", value_parser = cost)]
    max_cost: Option<f64>,
}

fn cost(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|cost| (0.0..f64::INFINITY).contains(cost)).ok_or_else(|| "not a sum of money".to_owned())
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let table = Table::read(&arguments.data)?;
    let encoder = session.open(&arguments.encoder)?;
    let column = column(&table, arguments.column.as_deref(), &encoder)?;
    let store = session.store(&encoder)?;
    let Arguments { retry_failed, max_items, max_cost, .. } = arguments;
    if max_cost.is_some() && encoder.description.price.is_none() {
        bail!(
            "--max-cost needs a price: say in [encoder.{}] of plugins.toml what the encoder costs, if its plugin has a key \
             for it",
            encoder.name
        );
    }
    if arguments.dry_run {
        return foretell(session, &encoder, &store, column, &arguments);
    }
    let wanted = Wanted { retry_failed, max_items, max_cost, places: false };
    let Encoding { summary, error, .. } = fill(session, &encoder, &store, column, wanted);
    if session.json {
        say!("{}", serde_json::to_string_pretty(&summary)?);
    } else {
        say!("{}", line(&encoder.name, &summary));
    }
    match error {
        Some(error) => Err(error.into()),
        None => Ok(code(&summary)),
    }
}

/// The named column, or the usual one for the encoder's items.
pub(super) fn column<'a>(table: &'a Table, name: Option<&str>, encoder: &LoadedEncoder) -> Result<Column<'a>> {
    Ok(match name {
        Some(name) => table.column(name)?,
        None => table.usual_column(encoder.description.modality.name())?,
    })
}

/// Prints what an encoding would come to.
fn foretell(
    session: &Session,
    encoder: &LoadedEncoder,
    store: &Store,
    column: Column<'_>,
    arguments: &Arguments,
) -> Result<u8> {
    let items = Items::new(column, &encoder.description.modality);
    let (rows, services) = (items.len(), &session.services);
    let mut meter = Meter::new(format!("looking at {}", column.source().display()), rows, "rows");
    let forecast =
        forecast(items, encoder, store, arguments.retry_failed, services, &mut |done| meter.show(done, rows, done, ""));
    meter.end();
    let Some(forecast) = forecast? else { return Ok(exit::STOPPED) };
    if session.json {
        println!("{}", serde_json::to_string_pretty(&forecast)?);
        return Ok(0);
    }
    let Forecast { distinct, cached, remembered, unreadable, items, requests, tokens, cost, seconds, .. } = forecast;
    println!(
        "{rows} rows, {distinct} different items: {cached} cached, {remembered} failed before, {unreadable} unreadable"
    );
    println!("{items} items to send in {requests} request{}", if requests == 1 { "" } else { "s" });
    if tokens > 0 {
        println!("about {tokens} tokens");
    }
    match cost {
        Some(cost) => println!("cost: about {}", money(cost)),
        None => println!("cost: unknown, as the encoder has no price"),
    }
    if arguments.max_items.is_some_and(|most| most < items) {
        println!("--max-items ends the run before all are sent");
    }
    if arguments.max_cost.zip(cost).is_some_and(|(most, cost)| most < cost) {
        println!("--max-cost ends the run before all are sent");
    }
    match seconds {
        Some(seconds) => {
            println!("time: {} at least, under the limits to its rate", HumanDuration(Duration::from_secs_f64(seconds)))
        }
        None if items == 0 => println!("time: none"),
        None => println!("time: unknown, as nothing limits its rate"),
    }
    Ok(0)
}

/// Encodes a column under a progress bar, and lists on standard error what failed.
pub(super) fn fill(
    session: &Session,
    encoder: &Arc<LoadedEncoder>,
    store: &Store,
    column: Column<'_>,
    wanted: Wanted,
) -> Encoding {
    let items = Items::new(column, &encoder.description.modality);
    if items.is_empty() {
        tracing::warn!("{} has a header and no rows", column.source().display());
    }
    if let Some(doubt) = items.doubt() {
        let (path, column) = (column.source().display(), column.name());
        let (name, modality) = (&encoder.name, &encoder.description.modality);
        tracing::warn!("{path}: column `{column}` {doubt}; `{name}` takes {modality}: is it the column that you mean?");
    }
    let services = &session.services;
    let mut meter = Meter::new(format!("encoding with {}", encoder.name), items.len(), "rows");
    let encoding = encode(items, encoder, store, wanted, services, &mut |progress| {
        let Progress { done, total, worked, failed } = progress;
        let note = if failed > 0 { format!("({failed} failed)") } else { String::new() };
        meter.show_or_wait(done, total, worked, &note, &services.status());
    });
    meter.end();
    for failure in encoding.summary.failures.iter().take(LISTED) {
        eprintln!("{}: row {}, {}: {}", column.source().display(), failure.row, failure.item, failure.reason);
    }
    if encoding.summary.failed > LISTED {
        eprintln!("... and {} more rows; `fusemix encode --json` lists them all", encoding.summary.failed - LISTED);
    }
    if encoding.summary.remembered > 0 {
        let (items, encoder) = (encoding.summary.remembered, &encoder.name);
        eprintln!(
            "{items} items failed in an earlier run; `fusemix encode --data {} --encoder {encoder} --retry-failed` sends \
             them again",
            column.source().display()
        );
    }
    encoding
}

/// A sum with as many digits as tell something.
fn money(cost: f64) -> String {
    let digits = if cost > 0.0 { (1.0 - cost.log10().floor()).clamp(2.0, 12.0) as usize } else { 2 };
    format!("{cost:.digits$}")
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
        let unit = if *amount == 1.0 { unit.strip_suffix('s').unwrap_or(unit) } else { unit };
        line += &format!(", {amount} {unit}");
    }
    if let Some(cost) = summary.cost {
        line += &format!(", cost {}", money(cost));
    }
    if summary.bounded {
        line += "; ended before it would exceed --max-items or --max-cost";
    }
    if summary.stopped {
        line += "; stopped: run it again to go on";
    }
    if summary.error.is_some() {
        line += "; ended by an error: the next run goes on from here";
    }
    line
}

/// The exit code of a command that ends with this summary.
pub(super) fn code(summary: &Summary) -> u8 {
    match summary {
        Summary { stopped: true, .. } => exit::STOPPED,
        Summary { bounded: true, .. } => exit::BOUNDED,
        Summary { not_finite: 1.., .. } => exit::NOT_FINITE,
        Summary { failed: 1.., .. } => exit::SOME_FAILED,
        _ => 0,
    }
}
