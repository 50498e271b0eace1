//! `fusemix search`: the items of a file that are nearest to a query.

use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;

use super::session::Session;
use super::towers::Towers;
use super::trained::Trained;
use crate::dataset::{DataFile, Table};
use crate::device::DeviceChoice;
use crate::eval::nearest;

/// Find the items of a file that are nearest to a query.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The tower of the query
    #[arg(long, value_name = "TOWER")]
    from: String,
    /// The tower of the items
    #[arg(long, value_name = "TOWER")]
    to: String,
    /// The file with the items
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The column with the items; needed where its name does not tell
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// Items to show
    #[arg(short, value_name = "K", default_value_t = 10)]
    k: usize,
    /// Where to compute: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What to find: text for a tower of text, a file for others
    query: String,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let trained = Trained::open(&arguments.run, arguments.device)?;
    let towers = trained.towers(session);
    let (from, to) = (trained.recipe.tower(&arguments.from)?, trained.recipe.tower(&arguments.to)?);
    let file = DataFile::open(&arguments.data)?;
    let column = column(&trained, &towers, to, &file, arguments.column.as_deref())?;
    let query = trained.fusion.embed(from, &*towers.query(from, &arguments.query)?)?;
    let items = towers.side(to, &file, &column)?.distinct();
    let embeddings = trained.fusion.embed(to, &*items.latents)?;
    let is_text = towers.modality(to)?.is_some_and(|modality| modality == "text");
    let mut found: Vec<Value> = Vec::new();
    for (rank, (item, score)) in (1..).zip(nearest(&query, &embeddings, arguments.k)) {
        let row = items.rows[item];
        let name = name(&file, &column, row)?;
        // The cell is relative to the table; who reads this is elsewhere.
        let path = match &file {
            DataFile::Table(table) if !is_text => Some(table.column(&column)?.file(row)),
            _ => None,
        };
        if !session.json {
            say!("{rank:>3}  {score:>6.3}  {}", path.as_ref().map_or(name.clone(), |path| path.display().to_string()));
        }
        found.push(json!({"rank": rank, "score": score, "row": row + 1, "item": name, "file": path}));
    }
    if session.json {
        say!("{:#}", json!({"found": found}));
    }
    Ok(0)
}

/// The column with a tower's items: the named one, that of the recipe, or the usual one for the modality.
pub(super) fn column(
    trained: &Trained,
    towers: &Towers<'_>,
    tower: usize,
    file: &DataFile,
    named: Option<&str>,
) -> Result<String> {
    let ends = trained.recipe.pairs.iter().flat_map(|pairs| &pairs.ends).filter(|end| end.tower == tower);
    let recipes = ends.map(|end| end.column.as_str()).find(|column| file.rows(column).is_ok());
    match (named.or(recipes), file) {
        (Some(name), file) => {
            file.rows(name)?;
            Ok(name.to_owned())
        }
        (None, DataFile::Table(table)) => usual(towers, tower, table),
        (None, DataFile::Precomputed(file)) => {
            let name = &trained.recipe.towers[tower].name;
            file.rows(name)?;
            Ok(name.clone())
        }
    }
}

fn usual(towers: &Towers<'_>, tower: usize, table: &Table) -> Result<String> {
    let modality = towers.modality(tower)?.unwrap_or_default();
    Ok(table.usual_column(&modality)?.name().to_owned())
}

/// What a row's item is called: its cell, or its number.
pub(super) fn name(file: &DataFile, column: &str, row: usize) -> Result<String> {
    Ok(match file {
        DataFile::Table(table) => String::from_utf8_lossy(table.column(column)?.cell(row)).into_owned(),
        DataFile::Precomputed(_) => format!("row {}", row + 1),
    })
}
