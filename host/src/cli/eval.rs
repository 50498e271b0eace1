//! `fusemix eval`: retrieval between the towers of a run.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::{Cli, foretell, print};
use crate::device::DeviceChoice;
use crate::eval::Retrieval;
use crate::session::Evaluation;

/// Measure retrieval in both directions: R@1, R@5, R@10 and the median rank, next to chance.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Pairs to evaluate on, instead of the recipe's test files
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let model = cli.session.model(&arguments.run, arguments.device)?;
    if arguments.dry_run {
        return foretell::columns(cli, &model.forecast_evaluation(arguments.data.as_deref())?, None);
    }
    let Evaluation { retrieval, shared } = model.evaluate(arguments.data.as_deref())?;
    if cli.json {
        print::json(&json!({"retrieval": retrieval, "shared": shared}));
    } else {
        say!("{}", table(&retrieval).trim_end());
    }
    Ok(0)
}

/// A line for each direction, and under it the result of a random order.
fn table(found: &[Retrieval]) -> String {
    let way = |retrieval: &Retrieval| format!("{} to {}", retrieval.from, retrieval.to);
    let width = found.iter().map(|retrieval| way(retrieval).len()).max().unwrap_or(0).max(10);
    let head = ["R@1 %", "R@5 %", "R@10 %", "median rank", "queries", "gallery"];
    let mut table = format!("{:width$} {}\n", "", head.map(|name| format!("{name:>11}")).join(" "));
    let numbers = |recall: &dyn Fn(&usize) -> f64, retrieval: &Retrieval| {
        retrieval.recall.keys().map(|k| format!(" {:>11.1}", recall(k))).collect::<String>()
    };
    for retrieval in found {
        let Retrieval { queries, gallery, median_rank, chance_median_rank, .. } = retrieval;
        let recall = numbers(&|k| retrieval.recall[k], retrieval);
        table += &format!("{:width$}{recall} {median_rank:>11} {queries:>11} {gallery:>11}\n", way(retrieval));
        let chance = numbers(&|k| retrieval.chance[k], retrieval);
        table += &format!("{:width$}{chance} {:>11}\n", "  chance", (chance_median_rank * 10.0).round() / 10.0);
    }
    table
}
