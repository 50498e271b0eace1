//! `fusemix compare`: runs beside one another on the same held-out pairs.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::source::{Columns, Rows};
use super::{Cli, exit, foretell, print};
use crate::device::DeviceChoice;
use crate::eval::Interval;
use crate::session::{Compared, Comparison};
use crate::wording::count;

/// Compare runs on the same held-out pairs, query by query, with 95 % intervals.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folders; the others are compared with the first
    #[arg(required = true, num_args = 2.., value_name = "RUN")]
    runs: Vec<PathBuf>,
    /// Pairs to compare on, instead of the test files of the first run's recipe; may be given several times
    #[arg(long, value_name = "FILE")]
    data: Vec<PathBuf>,
    #[command(flatten)]
    rows: Rows,
    #[command(flatten)]
    columns: Columns,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let files = arguments.rows.of_all(&arguments.data)?;
    let data = (&files[..], arguments.columns.of_given(!arguments.data.is_empty())?);
    if arguments.dry_run {
        let forecast = cli.session.forecast_comparison(&arguments.runs, data, arguments.device)?;
        return foretell::columns(cli, &forecast, None);
    }
    let comparison = cli.session.compare(&arguments.runs, data, arguments.device)?;
    if cli.json {
        print::json(&json!(comparison));
    } else {
        say!("{}", table(&comparison));
    }
    Ok(if comparison.left_out == 0 { 0 } else { exit::SOME_FAILED })
}

fn table(Comparison { pairs, left_out, runs }: &Comparison) -> String {
    let widest = runs.iter().map(|run| run.run.display().to_string().len()).max().unwrap_or(0).max(3);
    let (recall, apart) = ("mean of R@1, 5, 10 %", "less the first run's");
    let mut table = format!("{:widest$}  {recall:>22}  {apart:>22}", count(*pairs, "pair"));
    for Compared { run, recall, apart, enough } in runs {
        let run = run.display().to_string();
        let Interval { mean, low, high } = recall;
        let recall = format!("{mean:.1} ({low:.1} to {high:.1})");
        table += &format!("\n{run:widest$}  {recall:>22}");
        if let Some(Interval { mean, low, high }) = apart {
            let apart = format!("{mean:+.1} ({low:+.1} to {high:+.1})");
            table += &format!("  {apart:>22}");
        }
        if let Some(enough) = enough {
            table += &match *enough > 1000 * pairs.max(&1) {
                true => "  too close to tell apart".to_owned(),
                false => format!("  too few pairs to tell: about {enough} would be enough for this difference"),
            };
        }
    }
    if *left_out > 0 {
        let pairs = count(*left_out, "pair");
        table += &format!("\n{pairs} left out for all, of which an item has no latent");
    }
    table
}
