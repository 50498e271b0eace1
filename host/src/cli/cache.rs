//! `fusemix cache`: what is stored, whether it is whole, and getting it out.

use anyhow::{Result, bail};
use clap::Subcommand;
use serde_json::{Value, json};
use std::path::PathBuf;

use super::encode::{code, column, fill};
use super::exit;
use super::session::Session;
use crate::array_file::ArrayFile;
use crate::cache::list;
use crate::dataset::Table;
use crate::encode::{Encoding, Wanted};
use crate::latents::Latents;

/// Show, export or verify what the latent cache holds.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Hold every row against its checksum
    Verify {
        /// Forget the rows that differ, so that the next run encodes them again
        #[arg(long)]
        repair: bool,
    },
    /// Write the latents of a column to a file, encoding what is missing
    Export {
        /// The table with the items: .tsv or .csv with a header
        #[arg(long, value_name = "FILE")]
        data: PathBuf,
        /// The encoder's name in plugins.toml
        #[arg(long, value_name = "NAME")]
        encoder: String,
        /// The column with the items; needed where its name does not tell
        #[arg(long, value_name = "COL")]
        column: Option<String>,
        /// Where to: .safetensors or .npy
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
    },
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    match arguments.command {
        None => show(session),
        Some(Command::Verify { repair }) => verify(session, repair),
        Some(Command::Export { data, encoder, column, out }) => export(session, data, &encoder, column, out),
    }
}

fn show(session: &Session) -> Result<u8> {
    let mut entries = Vec::new();
    let mut unreadable = false;
    for entry in list(&session.cache)? {
        let counts = entry.reader().and_then(|reader| reader.counts());
        let (fingerprint, info) = (entry.fingerprint, entry.info);
        unreadable |= counts.is_err();
        if !session.json {
            let names = info.encoders.iter().cloned().collect::<Vec<_>>().join(", ");
            match &counts {
                Ok(counts) => say!(
                    "{fingerprint}  {names:<16} {:>9} rows of {:<5} {:>5} failed {:>13} bytes{}",
                    counts.rows,
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
    if session.json {
        say!("{:#}", json!({"cache": session.cache, "entries": entries}));
    } else if entries.is_empty() {
        say!("nothing is stored in {}", session.cache.display());
    }
    Ok(if unreadable { exit::FAILED } else { 0 })
}

fn verify(session: &Session, repair: bool) -> Result<u8> {
    let mut entries: Vec<Value> = Vec::new();
    let mut damaged = false;
    for entry in list(&session.cache)? {
        let checked = match repair {
            true => entry.store().and_then(|store| {
                let bad = store.verify()?;
                store.forget(&bad)?;
                Ok((store.counts()?.rows, bad.len()))
            }),
            false => entry.reader().and_then(|reader| Ok((reader.counts()?.rows, reader.verify()?.len()))),
        };
        let fingerprint = entry.fingerprint;
        let line = match &checked {
            Ok((rows, 0)) => format!("{rows} rows, all whole"),
            Ok((rows, bad)) if repair => {
                format!("{bad} damaged rows forgotten, {rows} left; encode again to fill them")
            }
            Ok((rows, bad)) => {
                format!("{bad} of {rows} rows are damaged; `fusemix cache verify --repair` forgets them")
            }
            Err(error) => format!("error: {error}"),
        };
        damaged |= !matches!(checked, Ok((_, bad)) if bad == 0 || repair);
        if !session.json {
            say!("{fingerprint}  {line}");
        }
        entries.push(match checked {
            Ok((rows, bad)) => json!({"fingerprint": fingerprint, "rows": rows, "damaged": bad}),
            Err(error) => json!({"fingerprint": fingerprint, "error": error.to_string()}),
        });
    }
    if session.json {
        say!("{:#}", json!({"entries": entries}));
    }
    Ok(if damaged { exit::FAILED } else { 0 })
}

fn export(session: &Session, data: PathBuf, encoder: &str, name: Option<String>, out: PathBuf) -> Result<u8> {
    let table = Table::read(&data)?;
    let encoder = session.open(encoder)?;
    let column = column(&table, name.as_deref(), &encoder)?;
    let file = ArrayFile::create(&out)?;
    let store = session.store(&encoder)?;
    let wanted = Wanted { places: true, ..Wanted::default() };
    let Encoding { places, summary, error } = fill(session, &encoder, &store, column, wanted);
    if let Some(error) = error {
        return Err(error.into());
    }
    if summary.stopped {
        return Ok(exit::STOPPED);
    }
    let Some(width) = store.width() else { bail!("no item of {} has a latent", data.display()) };
    let latents = store.latents(places.rows.iter().flatten().copied().collect())?;
    let present = places.rows.iter().map(Option::is_some).collect();
    let mut written = file.begin("latents", width, present)?;
    let mut values = vec![0.0; width];
    for index in 0..latents.len() {
        latents.copy_row(index, &mut values);
        written.row(&values)?;
    }
    written.finish()?;
    let failed = summary.failed;
    if session.json {
        say!(
            "{:#}",
            json!({"file": out, "rows": places.rows.len(), "width": width, "failed": failed,
            "failures": summary.failures})
        );
    } else {
        say!("{}: {} rows of {width} values, {failed} failed", out.display(), places.rows.len());
    }
    Ok(code(&summary))
}
