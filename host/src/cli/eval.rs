//! `fusemix eval`: retrieval between the towers of a run.

use anyhow::Result;
use serde_json::json;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::source::{Columns, Rows};
use super::{Cli, foretell, print};
use crate::device::DeviceChoice;
use crate::eval::{Health, Interval, Retrieval};
use crate::session::{BetweenTowers, Evaluation};

/// Measure retrieval in both directions: R@1, R@5, R@10 and the median rank, next to chance.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// Pairs to evaluate on, instead of the recipe's test files
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Parts of the test items, in file order, that are searched one by one: 5 is COCO's "1K" of its 5,000 pictures
    #[arg(long, value_name = "N", default_value = "1")]
    folds: NonZeroUsize,
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
    let columns = arguments.columns.of_given(arguments.data.is_some())?;
    let model = cli.session.model(&arguments.run, arguments.device)?.with_columns(columns)?;
    let data = arguments.rows.of_given(arguments.data.as_deref())?;
    if arguments.dry_run {
        return foretell::columns(cli, &model.forecast_evaluation(data.as_ref())?, None);
    }
    let evaluation = model.evaluate(data.as_ref(), arguments.folds)?;
    if cli.json {
        print::json(&json!(evaluation));
    } else {
        say!("{}", table(&evaluation.retrieval));
        say!("{}", summary(&evaluation));
    }
    Ok(0)
}

/// The mean with its interval, and the health of the space.
fn summary(Evaluation { mean: Interval { mean, low, high }, between, .. }: &Evaluation) -> String {
    let mut lines = vec![format!("mean of R@1, 5, 10 over all directions: {mean:.1} % (95 %: {low:.1} to {high:.1})")];
    for BetweenTowers { towers: [first, second], health, recall, recall_without_term } in between {
        let Health { gap, constant, skewness: [back, forth] } = health;
        let without = recall_without_term.map_or(String::new(), |without| {
            format!("; recall {recall:.1} %, without the term against hubs {without:.1} %")
        });
        lines.push(format!(
            "health of {first} and {second}: modality gap {gap:.2}, constant part {:.0} %, hubness {back:.1} among \
             {second}, {forth:.1} among {first}{without}",
            100.0 * constant
        ));
    }
    lines.join("\n")
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
