//! `fusemix compress`: a smaller form of a run.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::{Cli, foretell, print};
use crate::dataset::Source;
use crate::device::DeviceChoice;
use crate::eval::Interval;
use crate::session::{Compression, Existing};

/// Write a smaller, faster form of a run that compares items with fewer training items, and print what that costs.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The training items of each tower to compare with
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    anchors: u32,
    /// The folder of the smaller run
    #[arg(long, value_name = "RUN")]
    out: PathBuf,
    /// Pairs to measure the loss on, instead of the recipe's test files
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Replace the run in --out
    #[arg(long)]
    overwrite: bool,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { run, anchors, out, data, overwrite, dry_run, device } = arguments;
    let model = cli.session.model(&run, device)?;
    if dry_run {
        return foretell::columns(cli, &model.forecast_evaluation(data.as_ref().map(Source::from).as_ref())?, None);
    }
    let existing = if overwrite { Existing::Overwrite } else { Existing::Keep };
    let compression = model.compress(anchors as usize, &out, existing, data.as_deref())?;
    if cli.json {
        print::json(&json!(compression));
        return Ok(0);
    }
    let Compression { before, after, apart: Interval { mean, low, high }, bytes: [large, small] } = compression;
    let (large, small) = (large as f64 / 1e6, small as f64 / 1e6);
    say!(
        "{}: mean of R@1, 5, 10 {:.1} % instead of {:.1} % ({mean:+.1}; 95 %: {low:+.1} to {high:+.1}), {small:.1} \
         MB instead of {large:.1}",
        out.display(),
        after.mean,
        before.mean
    );
    Ok(0)
}
