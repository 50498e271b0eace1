//! `fusemix gallery`: embeddings with ids and metadata on disk.

use anyhow::Result;
use clap::Subcommand;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::lines::lines;
use super::source::Rows;
use super::{Cli, exit, foretell, gallery_export, print};
use crate::dataset;
use crate::device::DeviceChoice;
use crate::gallery::{CodesInfo, Dtype, Exhibit, Filter, Gallery, Writer};
use crate::session::{Added, GalleryColumns, Migration};
use crate::wording::count;

/// Build, change, list and verify galleries of shared-space embeddings.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Embed the items of a file into a new gallery
    Build(Build),
    /// Embed the items of a file into an existing gallery, replacing items with the same id
    Add(Add),
    /// Remove items by their ids
    Remove {
        /// The gallery
        gallery: PathBuf,
        /// The ids to remove
        #[arg(required_unless_present = "ids")]
        id: Vec<String>,
        /// A file with one id per line
        #[arg(long, value_name = "FILE")]
        ids: Option<PathBuf>,
    },
    /// List the items of a gallery
    List {
        /// The gallery
        gallery: PathBuf,
        /// Only the items that match, such as `price<20` or `kind = 'photo' and year >= 1990`
        #[arg(long = "where", value_name = "FILTER")]
        filter: Option<Filter>,
        /// The number of items to show; `--json` shows all
        #[arg(short, value_name = "K", default_value_t = 20)]
        k: usize,
    },
    /// Make the codes by which a large gallery is searched fast; `build` and `add` make those of 100,000 items
    Index {
        /// The gallery
        gallery: PathBuf,
    },
    /// Bring a gallery into the space of another run, with its ids and metadata
    Migrate(Migrate),
    /// Write a gallery for other software, or send it there: Parquet, faiss, Qdrant, pgvector and more
    Export(gallery_export::Arguments),
    /// Check a gallery against its checksums
    Verify {
        /// The gallery
        gallery: PathBuf,
    },
}

#[derive(clap::Args)]
struct Source {
    /// The file with the items
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    rows: Rows,
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// The column with the ids [default: the column with the items; for `add`, the one that `build` had]
    #[arg(long, value_name = "COL")]
    id: Option<String>,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

#[derive(clap::Args)]
struct Build {
    /// The run folder
    run: PathBuf,
    /// The tower of the items
    #[arg(long, value_name = "TOWER")]
    tower: String,
    #[command(flatten)]
    source: Source,
    /// The columns to keep as metadata, to show and to filter by
    #[arg(long, value_name = "COL,COL", value_delimiter = ',', value_parser = trimmed)]
    metadata: Vec<String>,
    /// The precision of the stored vectors: f32, f16 or i8
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: Dtype,
    /// The folder of the new gallery
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

#[derive(clap::Args)]
struct Add {
    /// The run folder
    run: PathBuf,
    /// The gallery
    gallery: PathBuf,
    #[command(flatten)]
    source: Source,
}

#[derive(clap::Args)]
struct Migrate {
    /// The gallery
    gallery: PathBuf,
    /// The run whose space it is to be in
    run: PathBuf,
    /// The tower of the items
    #[arg(long, value_name = "TOWER")]
    tower: String,
    /// Take the gallery's vectors for latents of the tower, instead of encoding its items anew
    #[arg(long)]
    map: bool,
    /// The precision of the stored vectors: f32, f16 or i8
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    precision: Dtype,
    /// The folder of the new gallery
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

fn trimmed(name: &str) -> Result<String, Infallible> {
    Ok(name.trim().to_owned())
}

impl Source {
    fn rows(&self) -> dataset::Source {
        self.rows.of(&self.data)
    }

    fn columns(&self) -> GalleryColumns {
        GalleryColumns { items: self.column.clone(), id: self.id.clone() }
    }
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    match arguments.command {
        Command::Build(Build { run, tower, source, metadata, precision, out }) => {
            let model = cli.session.model(&run, source.device)?;
            if source.dry_run {
                let columns = model.forecast_column(&tower, source.rows(), source.column.as_deref())?;
                return foretell::columns(cli, &columns, None);
            }
            let added = model.build_gallery(&tower, source.rows(), &source.columns(), &metadata, precision, &out)?;
            print_added(cli, &out, added)
        }
        Command::Add(Add { run, gallery, source }) => {
            let model = cli.session.model(&run, source.device)?;
            if source.dry_run {
                let opened = Gallery::open(&gallery)?;
                let info = opened.info();
                let is_there = |column: &&String| source.rows().open().is_ok_and(|file| file.rows(column).is_ok());
                let column = source.column.as_ref().or(info.item_column.as_ref().filter(is_there));
                let columns = model.forecast_column(&info.origin.tower, source.rows(), column.map(String::as_str))?;
                return foretell::columns(cli, &columns, None);
            }
            let added = model.add_to_gallery(&gallery, source.rows(), &source.columns())?;
            print_added(cli, &gallery, added)
        }
        Command::Remove { gallery, id, ids } => remove(cli, &gallery, id, ids.as_deref()),
        Command::List { gallery, filter, k } => list(cli, &gallery, filter.as_ref(), k),
        Command::Migrate(Migrate { gallery, run, tower, map, precision, out, dry_run, device }) => {
            let model = cli.session.model(&run, device)?;
            if dry_run {
                let columns = if map { Vec::new() } else { model.forecast_migration(&gallery, &tower)? };
                return foretell::columns(cli, &columns, None);
            }
            let how = if map { Migration::Map } else { Migration::Embed };
            let added = model.migrate_gallery(&gallery, &tower, how, precision, &out)?;
            print_added(cli, &out, added)
        }
        Command::Index { gallery } => index(cli, &gallery),
        Command::Export(arguments) => gallery_export::run(cli, &arguments),
        Command::Verify { gallery } => {
            let opened = Gallery::open(&gallery)?;
            opened.check_counted()?;
            let uncounted = opened.verify()?;
            let items = opened.len();
            if cli.json {
                print::json(&json!({"gallery": gallery, "items": items, "whole": true, "uncounted_bytes": uncounted}));
            } else {
                say!("{}: {}, all intact", gallery.display(), count(items, "item"));
            }
            if uncounted > 0 {
                note!(
                    "{} bytes after the last commit do not count: a program was stopped while it added items, and \
                     adding them again replaces these bytes; or the file `log` was cut",
                    uncounted
                );
            }
            Ok(0)
        }
    }
}

fn print_added(cli: &Cli, gallery: &Path, Added { new, replaced, repeated, failed }: Added) -> Result<u8> {
    let items = Gallery::open(gallery)?.len();
    if cli.json {
        print::json(
            &json!({"gallery": gallery, "items": items, "new": new, "replaced": replaced, "repeated": repeated,
                "failed": failed}),
        );
    } else {
        let mut line = format!("{}: {} added", gallery.display(), count(new, "item"));
        for (number, what) in [(replaced, "replaced"), (repeated, "duplicated in the file"), (failed, "failed")] {
            if number > 0 {
                line += &format!(", {number} {what}");
            }
        }
        say!("{line}; the gallery now holds {}", count(items, "item"));
    }
    Ok(if failed == 0 { 0 } else { exit::SOME_FAILED })
}

fn index(cli: &Cli, gallery: &Path) -> Result<u8> {
    let start = Instant::now();
    let CodesInfo { rows, bits, scored, recall, .. } = cli.session.index_gallery(gallery)?;
    let seconds = start.elapsed().as_secs_f64();
    if cli.json {
        print::json(&json!({"gallery": gallery, "rows": rows, "bits": bits, "scored": scored, "recall": recall,
            "seconds": seconds}));
    } else {
        say!(
            "{}: {} coded in {bits} bits each, in {seconds:.1} s; a search scores {scored} of them exactly and finds \
             {:.1} % of the ten nearest, by trials with hard queries",
            gallery.display(),
            count(rows, "row"),
            100.0 * recall
        );
    }
    Ok(0)
}

fn remove(cli: &Cli, gallery: &Path, mut ids: Vec<String>, file: Option<&Path>) -> Result<u8> {
    if let Some(file) = file {
        ids.extend(lines(file)?);
    }
    let mut writer = Writer::open(gallery)?;
    let removal = writer.remove(&ids.iter().map(String::as_str).collect::<Vec<_>>())?;
    if cli.json {
        print::json(
            &json!({"gallery": gallery, "items": writer.len(), "removed": removal.removed, "unknown": removal.unknown}),
        );
    } else {
        removal.unknown.iter().for_each(|id| note!("{}: no item has the id `{id}`", gallery.display()));
        let (removed, left) = (count(removal.removed, "item"), count(writer.len(), "item"));
        say!("{}: {removed} removed; the gallery now holds {left}", gallery.display());
    }
    Ok(if removal.unknown.is_empty() { 0 } else { exit::SOME_FAILED })
}

fn list(cli: &Cli, path: &Path, filter: Option<&Filter>, k: usize) -> Result<u8> {
    let gallery = Gallery::open(path)?;
    gallery.check_counted()?;
    let info = gallery.info();
    let rows: Vec<usize> = match filter {
        Some(filter) => gallery.filtered(filter)?,
        None => gallery.rows().collect(),
    };
    if cli.json {
        let item = |&row: &usize| {
            let Exhibit { id, metadata } = gallery.exhibit(row)?;
            let named = info.columns.iter().cloned().zip(metadata);
            Ok([("id".to_owned(), Value::from(id))].into_iter().chain(named).collect::<Map<_, _>>())
        };
        let items = rows.iter().map(item).collect::<Result<Vec<_>>>()?;
        print::json(&json!({"gallery": path, "info": info, "count": gallery.len(), "items": items}));
        return Ok(0);
    }
    let precision = info.dtype.name();
    let (tower, run) = (&info.origin.tower, &info.origin.run);
    let items = match filter {
        Some(_) => format!("{} of {}", rows.len(), count(gallery.len(), "item")),
        None => count(gallery.len(), "item"),
    };
    say!("{}: {items} of {} values ({precision}), tower `{tower}` of {run}", path.display(), info.width);
    for &row in rows.iter().take(k) {
        let Exhibit { id, metadata } = gallery.exhibit(row)?;
        let values: Vec<String> =
            info.columns.iter().zip(&metadata).map(|(name, value)| format!("{name} = {value}")).collect();
        say!("{id}  {}", values.join(", "));
    }
    if rows.len() > k {
        say!("... and {} more; use -k to show more", rows.len() - k);
    }
    Ok(0)
}
