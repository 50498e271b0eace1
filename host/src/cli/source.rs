//! The rows of a file, and the items of a table for an encoder, as commands name them.

use anyhow::Result;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use super::Cli;
use super::exit::Invalid;
use crate::dataset::{self, Table};
use crate::plugin::LoadedEncoder;

/// The rows of a file that are meant.
#[derive(clap::Args)]
pub(super) struct Rows {
    /// The folder that the files in the table are relative to, instead of the table's own
    #[arg(long, value_name = "DIR")]
    pub(super) root: Option<PathBuf>,
    /// The rows of this split, or of several: `train+restval`
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The first N rows
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
}

impl Rows {
    /// Those of the file `data`.
    pub(super) fn of(&self, data: &Path) -> dataset::Source {
        dataset::Source {
            root: self.root.clone(),
            split: self.split.clone(),
            limit: self.limit.map(NonZeroUsize::get),
            ..dataset::Source::new(data)
        }
    }

    /// Those of several files, if any are given.
    pub(super) fn of_all(&self, data: &[PathBuf]) -> Result<Vec<dataset::Source>> {
        self.of_given(data.first().map(PathBuf::as_path))?;
        Ok(data.iter().map(|data| self.of(data)).collect())
    }

    /// Those of a file that may be given; without one there are none to choose.
    pub(super) fn of_given(&self, data: Option<&Path>) -> Result<Option<dataset::Source>> {
        let keys = [("root", self.root.is_some()), ("split", self.split.is_some()), ("limit", self.limit.is_some())];
        match (data, keys.iter().find(|(_, is_given)| *is_given)) {
            (None, Some((key, _))) => {
                Err(Invalid(format!("--{key} chooses rows of --data FILE, which is not given")).into())
            }
            (data, _) => Ok(data.map(|data| self.of(data))),
        }
    }
}

/// The columns of a file by the towers whose items they hold.
#[derive(clap::Args)]
pub(super) struct Columns {
    /// The column of --data with a tower's items, or several of captions: text=caption_1,caption_2; may be given for
    /// each tower [default: the recipe's]
    #[arg(long = "column", value_name = "TOWER=COL", value_parser = of_tower)]
    columns: Vec<(String, Vec<String>)>,
}

fn of_tower(text: &str) -> Result<(String, Vec<String>), String> {
    let (tower, columns) = text.split_once('=').ok_or("write the tower and its column: text=caption")?;
    let columns: Vec<String> = columns.split(',').map(|name| name.trim().to_owned()).collect();
    match tower.trim().is_empty() || columns.iter().any(String::is_empty) {
        true => Err("write the tower and its column: text=caption".to_owned()),
        false => Ok((tower.trim().to_owned(), columns)),
    }
}

impl Columns {
    /// Those of a file, if it is given.
    pub(super) fn of_given(&self, is_given: bool) -> Result<&[(String, Vec<String>)]> {
        match is_given || self.columns.is_empty() {
            true => Ok(&self.columns),
            false => Err(Invalid("--column names columns of --data FILE, which is not given".to_owned()).into()),
        }
    }
}

#[derive(clap::Args)]
pub(super) struct Source {
    /// The table with the items, or a folder of them: .tsv, .csv, .jsonl, .json, .parquet or .tar
    #[arg(long, value_name = "FILE")]
    pub(super) data: PathBuf,
    /// The encoder's name in plugins.toml
    #[arg(long, value_name = "NAME")]
    pub(super) encoder: String,
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    pub(super) column: Option<String>,
    #[command(flatten)]
    pub(super) rows: Rows,
}

impl Source {
    /// The table, and the name of the column with the items.
    pub(super) fn open(&self, cli: &Cli, table: Table, encoder: &LoadedEncoder) -> Result<(Table, String)> {
        let name = cli.session.column(&table, self.column.as_deref(), encoder)?.name().to_owned();
        Ok((table.captions(&name)?, name))
    }

    /// The rows that are meant; of their columns the items' and another one, where the items' is named.
    pub(super) fn table(&self, other: Option<&str>) -> Result<Table> {
        let others = self.column.iter().cloned().chain(other.map(str::to_owned)).collect();
        let others = self.column.is_some().then_some(others);
        Ok(dataset::Source { others, ..self.rows.of(&self.data) }.table()?)
    }
}
