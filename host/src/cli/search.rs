//! `fusemix search`: the items that are nearest to a query.

use anyhow::Result;
use serde_json::{Value, json};
use std::path::PathBuf;

use super::Cli;
use crate::device::DeviceChoice;
use crate::session::Found;

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
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// Items to show
    #[arg(short, value_name = "K", default_value_t = 10)]
    k: usize,
    /// Keep the query's latent in the cache
    #[arg(long)]
    cache_queries: bool,
    /// Where to compute: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// What to find: text for a tower of text, a file for others
    query: String,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { run, from, to, data, column, k, cache_queries, device, query } = arguments;
    let model = cli.session.model(&run, device)?;
    let query = model.embed_one(&from, model.item(&from, &query)?, cache_queries)?;
    let found = model.search_column(&[query], &to, &data, column.as_deref(), k)?.remove(0);
    let mut all: Vec<Value> = Vec::new();
    for (rank, Found { score, row, item, file }) in (1..).zip(found) {
        if !cli.json {
            say!("{rank:>3}  {score:>6.3}  {}", file.as_ref().map_or(item.clone(), |path| path.display().to_string()));
        }
        all.push(json!({"rank": rank, "score": score, "row": row + 1, "item": item, "file": file}));
    }
    if cli.json {
        say!("{:#}", json!({"found": all}));
    }
    Ok(0)
}
