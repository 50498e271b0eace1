//! `fusemix probe`: encoders ranked on some pairs, before all is paid for.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::{Cli, exit, foretell, print};
use crate::config::Sweep;
use crate::device::DeviceChoice;
use crate::eval::Interval;
use crate::session::{Probe, ProbeOptions, Probed, ProbedTower};

/// Rank the encoders of a sweep, or of a recipe, on some pairs, before all items are encoded.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The sweep: a recipe in which `encoder`, or keys of [encoder.NAME], may be lists
    sweep: PathBuf,
    /// The pairs to look at, at random
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(60..=20_000))]
    pairs: u32,
    /// The seed of the folds
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { sweep, pairs, seed, dry_run, device } = arguments;
    let (sweep, options) = (Sweep::read(&sweep)?, ProbeOptions { pairs: pairs as usize, seed });
    if dry_run {
        return foretell::columns(cli, &cli.session.forecast_probe(&sweep, options)?, None);
    }
    let Probe { probed, failing } = cli.session.probe(&sweep, options, device)?;
    match cli.json {
        true => print::json(&json!({"pairs": pairs, "probed": probed, "failing": failing})),
        false => {
            say!("{}", table(&probed));
            failing.values().for_each(|reason| say!("left out: {reason}"));
        }
    }
    Ok(if failing.is_empty() { 0 } else { exit::SOME_FAILED })
}

fn table(probed: &[Probed]) -> String {
    let name = |ProbedTower { tower, encoders, width }: &ProbedTower| {
        let encoders = if encoders.is_empty() { "precomputed".to_owned() } else { encoders.join("+") };
        format!("{tower} {encoders} ({width})")
    };
    let names: Vec<String> = probed.iter().map(|of| of.towers.each_ref().map(name).join(", ")).collect();
    let widest = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    let interval = |Interval { mean, low, high }: Interval| format!("{mean:.1} ({low:.1} to {high:.1})");
    let head = ["kernel CCA: mean R@1, 5, 10 %", "mutual neighbours %", "CKA"];
    let mut lines = vec![format!("{:widest$}  {:>30}  {:>22}  {:>6}", "", head[0], head[1], head[2])];
    for (Probed { alignment, recall, .. }, name) in probed.iter().zip(names) {
        let recall = recall.map_or("too few pairs".to_owned(), interval);
        let neighbours = interval(alignment.neighbours);
        lines.push(format!("{name:widest$}  {recall:>30}  {neighbours:>22}  {:>6.3}", alignment.cka));
    }
    if let Some(Probed { pairs, chance, alignment, .. }) = probed.first() {
        lines.push(format!(
            "{:widest$}  {chance:>30.1}  {:>22.1}  {:>6.3}",
            format!("chance, on {pairs} pairs"),
            alignment.chance,
            0.0
        ));
    }
    lines.join("\n")
}
