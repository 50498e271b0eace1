//! `fusemix cache`: listing, verifying and exporting stored latents.

use anyhow::{Context, Result};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::source::Source;
use super::wording::money;
use super::{Cli, exit, foretell, output, print};
use crate::cache::{Checked, Spent, list, spent};
use crate::encode::Wanted;
use crate::session::{Exported, Prune};
use crate::wording::count;

/// List, verify or export the contents of the latent cache.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Check every row against its checksum
    Verify {
        /// Rebuild a damaged log, and drop damaged rows so that the next run encodes them again
        #[arg(long)]
        repair: bool,
    },
    /// List the encoders' latents that nobody needs, or remove them
    Prune {
        /// Only those of this encoder
        #[arg(long, value_name = "NAME", required_unless_present_any = ["older_than", "unused_by"])]
        encoder: Option<String>,
        /// Only those that got no new latent for so many days
        #[arg(long, value_name = "DAYS", value_parser = days)]
        older_than: Option<Duration>,
        /// Only those that no encoder of these recipes uses, as plugins.toml configures them now
        #[arg(long, value_name = "RECIPE", num_args = 1..)]
        unused_by: Vec<PathBuf>,
        /// Remove them; they cannot be brought back
        #[arg(long)]
        yes: bool,
    },
    /// Forget the latents of a column's items, so that the next run encodes them again
    Forget(Source),
    /// Write the latents of a column to a file, encoding the missing ones
    Export {
        #[command(flatten)]
        source: Source,
        /// The column with the items' ids, which go into a .parquet file, or into OUT.ids.tsv
        #[arg(long, value_name = "COL")]
        id: Option<String>,
        /// The output file: .safetensors, .npy or .parquet
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// Show what would be sent, its cost and its duration, without sending anything
        #[arg(long)]
        dry_run: bool,
    },
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    match arguments.command {
        None => show(cli),
        Some(Command::Verify { repair }) => verify(cli, repair),
        Some(Command::Prune { encoder, older_than, unused_by, yes }) => {
            prune(cli, &Prune { encoder, unused_for: older_than, unused_by }, yes)
        }
        Some(Command::Forget(source)) => forget(cli, &source),
        Some(Command::Export { source, id, out, dry_run }) => export(cli, &source, id.as_deref(), &out, dry_run),
    }
}

fn days(text: &str) -> Result<Duration, String> {
    let days = text.parse::<f64>().ok().filter(|days| (0.0..1e6).contains(days));
    days.map(|days| Duration::from_secs_f64(days * 86_400.0)).ok_or_else(|| "not a number of days".to_owned())
}

fn prune(cli: &Cli, choice: &Prune, yes: bool) -> Result<u8> {
    let mut removed = Vec::new();
    let mut failed = false;
    for entry in cli.session.prunable(choice)? {
        let rows = entry.reader().and_then(|reader| reader.counts()).map_or(0, |counts| counts.rows as usize);
        let (fingerprint, names) = (entry.fingerprint.clone(), entry.info.encoders.clone());
        let outcome = if yes { entry.remove() } else { Ok(()) };
        failed |= outcome.is_err();
        if !cli.json {
            let names = names.iter().cloned().collect::<Vec<_>>().join(", ");
            match &outcome {
                Ok(()) => {
                    say!("{fingerprint}  {names:<16} {}{}", count(rows, "row"), if yes { ", removed" } else { "" })
                }
                Err(error) => say!("{fingerprint}  {names:<16} error: {error}"),
            }
        }
        removed.push(
            json!({"fingerprint": fingerprint, "encoders": names, "rows": rows, "removed": yes && outcome.is_ok(),
            "error": outcome.err().map(|error| error.to_string())}),
        );
    }
    if cli.json {
        print::json(&json!({"entries": removed}));
    } else if removed.is_empty() {
        say!("there is nothing to remove");
    } else if !yes {
        say!("nothing was removed; add --yes to remove what is listed");
    }
    Ok(if failed { exit::FAILED } else { 0 })
}

fn forget(cli: &Cli, source: &Source) -> Result<u8> {
    let table = source.table(None)?;
    let encoder = cli.session.encoder(&source.encoder)?;
    let (table, column) = source.open(cli, table, &encoder)?;
    let forgotten = cli.session.forget_column(table.column(&column)?, &encoder)?;
    match cli.json {
        true => print::json(&json!({"encoder": encoder.name, "forgotten": forgotten})),
        false => say!("{}: {} forgotten; the next run encodes them again", encoder.name, count(forgotten, "latent")),
    }
    Ok(0)
}

/// What an encoder has used and cost, in words.
fn account(spent: &Spent) -> String {
    let usage = spent.usage.iter().map(|(unit, amount)| format!("{amount} {unit}"));
    let cost = spent.cost.map(|cost| format!("cost {}", money(cost)));
    cost.into_iter().chain(usage).collect::<Vec<_>>().join(", ")
}

fn show(cli: &Cli) -> Result<u8> {
    let mut entries = Vec::new();
    let mut unreadable = false;
    let cache = cli.session.cache()?;
    let mut accounts = spent(&cache).with_context(|| format!("cannot read what was spent in {}", cache.display()))?;
    for entry in list(&cache)? {
        let counts = entry.reader().and_then(|reader| reader.counts());
        let (fingerprint, info) = (entry.fingerprint, entry.info);
        let spent = accounts.remove(&fingerprint).map(|(_, spent)| spent);
        unreadable |= counts.is_err();
        if !cli.json {
            let names = info.encoders.iter().cloned().collect::<Vec<_>>().join(", ");
            match &counts {
                Ok(counts) => say!(
                    "{fingerprint}  {names:<16} {:>14} of {:<5} {:>5} failed {:>13} bytes{}",
                    count(counts.rows as usize, "row"),
                    counts.width,
                    counts.failures,
                    counts.bytes,
                    if counts.normalized == Some(true) { ", of length 1" } else { "" }
                ),
                Err(error) => say!("{fingerprint}  {names:<16} error: {error}"),
            }
            if let Some(spent) = &spent {
                say!("{:16}  {:16} spent: {}", "", "", account(spent));
            }
        }
        entries.push(match counts {
            Ok(counts) => json!({"fingerprint": fingerprint, "parts": info.fingerprint, "encoders": info.encoders,
                "rows": counts.rows, "failures": counts.failures, "width": counts.width, "bytes": counts.bytes,
                "normalized": counts.normalized, "spent": spent}),
            Err(error) => json!({"fingerprint": fingerprint, "encoders": info.encoders, "error": error.to_string(),
                "spent": spent}),
        });
    }
    if !cli.json {
        for (fingerprint, (names, spent)) in &accounts {
            say!("{fingerprint}  {:<16} no latents; spent: {}", names.join(", "), account(spent));
        }
    }
    if cli.json {
        let of = |(fingerprint, of): (&String, &(Vec<String>, Spent))| {
            let (encoders, spent) = of;
            json!({"fingerprint": fingerprint, "encoders": encoders, "spent": spent})
        };
        let others: Vec<Value> = accounts.iter().map(of).collect();
        print::json(&json!({"cache": cache, "entries": entries, "spent_without_latents": others}));
    } else if entries.is_empty() && accounts.is_empty() {
        say!("no latents in {}", cache.display());
    }
    Ok(if unreadable { exit::FAILED } else { 0 })
}

fn verify(cli: &Cli, repair: bool) -> Result<u8> {
    let mut entries: Vec<Value> = Vec::new();
    let mut damaged = false;
    for entry in list(&cli.session.cache()?)? {
        let checked = match repair {
            true => entry.repair(),
            false => entry.verify(),
        };
        let fingerprint = entry.fingerprint;
        let line = match &checked {
            Ok(Checked { rows, damaged: 0, lost_records: 0, lost_rows: 0 }) => {
                format!("{}, all intact", count(*rows as usize, "row"))
            }
            Ok(Checked { rows, damaged: 0, lost_records: 0, lost_rows: lost @ 1.. }) => {
                let rows = count(*rows as usize, "row");
                format!(
                    "{rows}, all intact; the index is lost, and rows.log does not know {lost} more, which a crash or a \
                     cut log left; their items are encoded again"
                )
            }
            Ok(Checked { rows, damaged, .. }) if repair => match damaged {
                0 => format!("{}, log rebuilt", count(*rows as usize, "row")),
                _ => {
                    let dropped = count(*damaged, "damaged row");
                    format!("{dropped} dropped, {rows} left; encode again to replace what is missing")
                }
            },
            Ok(Checked { rows, damaged, lost_records, .. }) => {
                let lost = match lost_records {
                    0 => String::new(),
                    lost => format!(" and {} of its log", count(*lost as usize, "record")),
                };
                format!("{damaged} of {rows} rows{lost} damaged; run `fusemix cache verify --repair`")
            }
            Err(error) => format!("error: {error}"),
        };
        damaged |= !checked.as_ref().is_ok_and(|checked| repair || checked.is_intact());
        if !cli.json {
            say!("{fingerprint}  {line}");
        }
        entries.push(match checked {
            Ok(Checked { rows, damaged, lost_records, lost_rows }) => json!({"fingerprint": fingerprint, "rows": rows,
                "damaged": damaged, "damaged_records": lost_records, "lost_rows": lost_rows}),
            Err(error) => json!({"fingerprint": fingerprint, "error": error.to_string()}),
        });
    }
    if cli.json {
        print::json(&json!({"entries": entries}));
    } else if entries.is_empty() {
        say!("no latents in {}", cli.session.cache()?.display());
    }
    Ok(if damaged { exit::FAILED } else { 0 })
}

fn export(cli: &Cli, source: &Source, id: Option<&str>, out: &Path, dry_run: bool) -> Result<u8> {
    output::check("--out", out, &[&source.data])?;
    let table = source.table(id)?;
    let encoder = cli.session.encoder(&source.encoder)?;
    let (table, column) = source.open(cli, table, &encoder)?;
    let column = table.column(&column)?;
    if dry_run {
        return foretell::encoding(cli, column, &encoder, Wanted::default());
    }
    let ids = id.map(|id| table.column(id)).transpose()?;
    let Exported { rows, width, summary } = cli.session.export(column, ids, &encoder, out)?;
    let failed = summary.failed;
    if cli.json {
        print::json(
            &json!({"file": out, "rows": rows, "width": width, "failed": failed, "failures": summary.failures}),
        );
    } else {
        say!("{}: {} of {width} values, {failed} failed", out.display(), count(rows, "row"));
    }
    Ok(exit::summary(&summary))
}
