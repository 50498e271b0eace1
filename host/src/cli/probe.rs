//! `fusemix probe`: encoders ranked on some pairs, before all is paid for.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::{Cli, exit, foretell, print};
use crate::config::Sweep;
use crate::device::DeviceChoice;
use crate::eval::Interval;
use crate::session::{Probe, ProbeOptions, Probed, ProbedTower};
use crate::wording::count;

/// Rank the encoders of a sweep, or of a recipe, on some pairs, before all items are encoded.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The sweep: a recipe in which `encoder`, or keys of [encoder.NAME], may be lists
    sweep: PathBuf,
    /// The pairs to look at, at random, each of other items
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(60..=20_000))]
    pairs: u32,
    /// The seed of the pairs and of what is held out of them
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
    let Probe { probed, failing, unreadable } = cli.session.probe(&sweep, options, device)?;
    match cli.json {
        true => print::json(&json!({
            "pairs": pairs, "probed": probed, "failing": failing, "unreadable": unreadable,
        })),
        false => {
            probed.chunk_by(|one, other| one.set == other.set).for_each(|set| say!("{}", table(set)));
            failing.values().for_each(|reason| say!("left out: {reason}"));
            if unreadable > 0 {
                let pairs = count(unreadable, "pair");
                say!("{pairs} passed over, of which an item cannot be read; `fusemix data FILE --read` names them");
            }
        }
    }
    let all = failing.is_empty() && unreadable == 0 && probed.iter().all(|of| of.left_out == 0);
    Ok(if all { 0 } else { exit::SOME_FAILED })
}

fn name(of: &Probed) -> String {
    let name = |ProbedTower { tower, encoders, width }: &ProbedTower| {
        let encoders = if encoders.is_empty() { "precomputed".to_owned() } else { encoders.join("+") };
        format!("{tower} {encoders} ({width})")
    };
    of.towers.each_ref().map(name).join(", ")
}

/// What was judged on the same pairs, the best first.
fn table(probed: &[Probed]) -> String {
    let names: Vec<String> = probed.iter().map(name).collect();
    let interval = |Interval { mean, low, high }: Interval| format!("{mean:.1} ({low:.1} to {high:.1})");
    let apart = |Interval { mean, low, high }: Interval| format!("{mean:+.1} ({low:+.1} to {high:+.1})");
    let head = ["kernel CCA: mean R@1, 5, 10 %", "less the best's", "mutual neighbours %", "CKA"];
    let chance = probed.first().map(|of| format!("chance, on {}", count(of.pairs, "pair"))).unwrap_or_default();
    let widest = names.iter().chain([&chance]).map(|name| name.chars().count()).max().unwrap_or(0);
    let mut lines = vec![format!("{:widest$}  {:>30}  {:>22}  {:>22}  {:>6}", "", head[0], head[1], head[2], head[3])];
    for (of, name) in probed.iter().zip(&names) {
        let recall = of.recall.map_or("too few pairs".to_owned(), interval);
        let apart = of.apart.map_or(String::new(), apart);
        let neighbours = of.alignment.map_or(String::new(), |alignment| interval(alignment.neighbours));
        let cka = of.alignment.map_or(String::new(), |alignment| format!("{:.3}", alignment.cka));
        let lacking = match of.left_out {
            0 => String::new(),
            pairs => format!("  without a latent of {}", count(pairs, "pair")),
        };
        lines.push(format!("{name:widest$}  {recall:>30}  {apart:>22}  {neighbours:>22}  {cka:>6}{lacking}"));
    }
    let Some(first) = probed.first() else { return lines.join("\n") };
    let neighbours = first.alignment.map_or(String::new(), |alignment| format!("{:.1}", alignment.chance));
    lines.push(format!("{chance:widest$}  {:>30.1}  {:>22}  {neighbours:>22}  {:>6.3}", first.chance, "", 0.0));
    if first.recall.is_some() {
        lines.push(format!(
            "each query is searched among {} that kernel CCA was not fitted to",
            count(first.among, "pair")
        ));
    }
    if probed.iter().any(|of| of.left_out > 0) {
        lines.push(format!(
            "all are judged on the same {}: those of which each has both latents",
            count(first.pairs, "pair")
        ));
    }
    if first.recall.is_some() && probed.len() > 1 {
        let alike: Vec<&str> =
            probed.iter().zip(&names).skip(1).filter(|(of, _)| of.among_best).map(|(_, name)| name.as_str()).collect();
        lines.push(super::wording::best(&names[0], &alike));
    }
    lines.join("\n")
}
