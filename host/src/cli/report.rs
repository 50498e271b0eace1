//! `fusemix report`: a run as one HTML page.

use anyhow::Result;
use std::path::PathBuf;

use super::source::{Columns, Rows};
use super::{Cli, foretell, output, print};
use crate::device::DeviceChoice;
use crate::report::{Page, of_run};

/// Write a run's curves, its retrieval on held-out pairs and example results as one HTML page.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Pairs to show, instead of the recipe's test files
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    #[command(flatten)]
    rows: Rows,
    #[command(flatten)]
    columns: Columns,
    /// The output file
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { run, data, rows, columns, out, dry_run, device } = arguments;
    output::check("--out", &out, &data.iter().map(PathBuf::as_path).collect::<Vec<_>>())?;
    let columns = columns.of_given(data.is_some())?;
    let data = rows.of_given(data.as_deref())?;
    let model = || cli.session.model(&run, device).and_then(|model| model.with_columns(columns));
    if dry_run {
        return foretell::columns(cli, &model()?.forecast_evaluation(data.as_ref())?, None);
    }
    let page = Page::create(&out)?;
    page.write(&of_run(&model()?.report(data.as_ref())?)?)?;
    match cli.json {
        true => print::json(&serde_json::json!({"page": out})),
        false => say!("{}", out.display()),
    }
    Ok(0)
}
