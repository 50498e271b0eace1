//! `fusemix embed`: shared-space embeddings of a column as a file.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::source::Rows;
use super::{Cli, exit, foretell, output, print};
use crate::device::DeviceChoice;
use crate::session::EmbeddedColumn;
use crate::wording::count;

/// Write the embeddings of a column to a file, in file order, with failed rows as NaN.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The tower of the items
    #[arg(long, value_name = "TOWER")]
    tower: String,
    /// The file with the items
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    rows: Rows,
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// The column with the items' ids, which go into a .parquet file, or into OUT.ids.tsv
    #[arg(long, value_name = "COL")]
    id: Option<String>,
    /// The output file: .safetensors, .npy or .parquet
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Leave out the values of the term against hubs, so that rows have length 1
    #[arg(long)]
    without_hubness: bool,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { run, tower, data, rows, column, id, out, without_hubness, dry_run, device } = arguments;
    output::check("--out", &out, &[&data])?;
    let (model, data) = (cli.session.model(&run, device)?, rows.of(&data));
    if dry_run {
        return foretell::columns(cli, &model.forecast_column(&tower, &data, column.as_deref())?, None);
    }
    let embedded = model.embed_column(&tower, &data, [column.as_deref(), id.as_deref()], (&out, !without_hubness))?;
    let EmbeddedColumn { rows, width, shared, failed } = embedded;
    if cli.json {
        print::json(&json!({"file": out, "rows": rows, "width": width, "shared": shared, "failed_rows": failed}));
    } else {
        let of = match width - shared {
            0 => format!("{width} values"),
            more => format!("{width} values, the last {more} of the term against hubs"),
        };
        say!("{}: {} of {of}, {} failed", out.display(), count(rows, "row"), failed.len());
    }
    Ok(if failed.is_empty() { 0 } else { exit::SOME_FAILED })
}
