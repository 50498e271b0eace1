//! `fusemix cache`: listing, verifying and exporting stored latents.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::PathBuf;

use super::{Cli, exit, print};
use crate::cache::{Checked, list};
use crate::dataset::read_table;
use crate::session::Exported;
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
    /// Write the latents of a column to a file, encoding the missing ones
    Export {
        /// The table with the items: .tsv or .csv with a header
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
        /// The encoder's name in plugins.toml
        #[arg(long, value_name = "NAME")]
        encoder: String,
        /// The column with the items [default: guessed from the header]
        #[arg(long, value_name = "COL")]
        column: Option<String>,
        /// The output file: .safetensors or .npy
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    match arguments.command {
        None => show(cli),
        Some(Command::Verify { repair }) => verify(cli, repair),
        Some(Command::Export { data, encoder, column, out }) => export(cli, data, &encoder, column, out),
    }
}

fn show(cli: &Cli) -> Result<u8> {
    let mut entries = Vec::new();
    let mut unreadable = false;
    for entry in list(&cli.session.cache()?)? {
        let counts = entry.reader().and_then(|reader| reader.counts());
        let (fingerprint, info) = (entry.fingerprint, entry.info);
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
        }
        entries.push(match counts {
            Ok(counts) => json!({"fingerprint": fingerprint, "parts": info.fingerprint, "encoders": info.encoders,
                "rows": counts.rows, "failures": counts.failures, "width": counts.width, "bytes": counts.bytes,
                "normalized": counts.normalized}),
            Err(error) => json!({"fingerprint": fingerprint, "encoders": info.encoders, "error": error.to_string()}),
        });
    }
    if cli.json {
        print::json(&json!({"cache": cli.session.cache()?, "entries": entries}));
    } else if entries.is_empty() {
        say!("no latents in {}", cli.session.cache()?.display());
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
            Ok(Checked { rows, damaged: 0, lost_records: 0 }) => {
                format!("{}, all intact", count(*rows as usize, "row"))
            }
            Ok(Checked { rows, damaged, .. }) if repair => {
                let dropped = match damaged {
                    0 => "log rebuilt".to_owned(),
                    _ => format!("{} dropped", count(*damaged, "damaged row")),
                };
                format!("{dropped}, {rows} left; encode again to replace what is missing")
            }
            Ok(Checked { rows, damaged, lost_records }) => {
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
            Ok(Checked { rows, damaged, lost_records }) => json!({"fingerprint": fingerprint, "rows": rows,
                "damaged": damaged, "damaged_records": lost_records}),
            Err(error) => json!({"fingerprint": fingerprint, "error": error.to_string()}),
        });
    }
    if cli.json {
        print::json(&json!({"entries": entries}));
    }
    Ok(if damaged { exit::FAILED } else { 0 })
}

fn export(cli: &Cli, data: PathBuf, encoder: &str, name: Option<String>, out: PathBuf) -> Result<u8> {
    let table = read_table(&data)?;
    let encoder = cli.session.encoder(encoder)?;
    let column = cli.session.column(&table, name.as_deref(), &encoder)?;
    let Exported { rows, width, summary } = cli.session.export(column, &encoder, &out)?;
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
