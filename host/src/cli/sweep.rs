//! `fusemix sweep`: many recipes in one table.

use anyhow::Result;
use indicatif::HumanDuration;
use serde_json::json;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Cli, exit, foretell, print};
use crate::config::Sweep;
use crate::device::DeviceChoice;
use crate::eval::Interval;
use crate::report::{Page, of_sweep};
use crate::session::{Error, FailingVariation, SweepEffect, SweepEffectValue, SweepPlan, SweepRow, SweepTable};
use crate::whole_file;
use crate::wording::count;

/// The wait between two writings of the table while fits go on.
const EVERY: Duration = Duration::from_secs(5);

/// Fit a recipe with lists of values in all combinations, with several seeds, and put them into one table.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The sweep: a recipe in which values may be lists
    sweep: PathBuf,
    /// The folder for the runs and the table; what is finished there is not fitted again
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Show what would be encoded, fitted and paid, without doing it
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { sweep, out, dry_run, device } = arguments;
    let sweep = Sweep::read(&sweep)?;
    let plan = cli.session.plan_sweep(&sweep, &out, device)?;
    if dry_run {
        if cli.json {
            let SweepPlan { columns, fits, done, seconds, failing, .. } = &plan;
            print::json(&json!({
                "variations": sweep.variations.len(), "fits": fits, "done": done, "seconds": seconds,
                "columns": columns, "failing": failing,
            }));
            return Ok(0);
        }
        say!("{}", planned(&sweep, &plan));
        return foretell::columns(cli, &plan.columns, None);
    }
    note!("{}", planned(&sweep, &plan));
    let mut kept: Option<Instant> = None;
    let mut keep = |table: &dyn Fn() -> SweepTable| {
        // The last table is written below; of many short fits not each has one of its own, and where all are done, the
        // table of last time is whole.
        if plan.fits == plan.done || kept.is_some_and(|kept| kept.elapsed() < EVERY) {
            return Ok(());
        }
        kept = Some(Instant::now());
        write(&out, &table())
    };
    let table = plan.run(&sweep, (&out, device), &mut keep)?;
    write(&out, &table)?;
    let page = out.join("index.html");
    Page::create(&page)?.write(&of_sweep(&table)?)?;
    match cli.json {
        true => print::json(&json!(table)),
        false => say!("{}\nthe page: {}", words(&table), page.display()),
    }
    let all = table.left_out == 0 && table.rows.iter().all(|row| row.error.is_none());
    Ok(if all { 0 } else { exit::SOME_FAILED })
}

/// Writes a table beside its runs.
fn write(out: &Path, table: &SweepTable) -> Result<(), Error> {
    for (name, content) in [
        ("sweep.json", serde_json::to_string_pretty(table).expect("a table is JSON") + "\n"),
        ("sweep.csv", csv(table)),
    ] {
        let path = out.join(name);
        whole_file::write(&path, content.as_bytes()).map_err(|cause| Error::Write { path, cause })?;
    }
    Ok(())
}

fn planned(sweep: &Sweep, SweepPlan { fits, done, seconds, failing, .. }: &SweepPlan) -> String {
    let mut line = format!("{}: {}", count(sweep.variations.len(), "variation"), count(*fits, "fit"));
    if *done > 0 {
        _ = write!(line, ", {done} of them done");
    }
    match seconds {
        Some(seconds) if *seconds >= 1.0 => {
            let time = HumanDuration(Duration::from_secs_f64(seconds.min(1e9)));
            let which = if *done > 0 { "the others" } else { "they" };
            _ = write!(line, "; {which} take about {time}");
        }
        _ => {}
    }
    // A reason is said once, with the first that it is of.
    let mut said: Vec<&str> = Vec::new();
    for FailingVariation { variation, error } in failing.iter() {
        if said.contains(&error.as_str()) {
            continue;
        }
        said.push(error);
        let others = match failing.iter().filter(|other| other.error == *error).count() {
            1 => String::new(),
            all => format!(" and {} more", all - 1),
        };
        _ = write!(line, "\ncannot be fitted: {variation}{others}: {error}");
    }
    line
}

/// Columns of a row: name, recall, deviation, difference.
fn cells(row: &SweepRow) -> [String; 4] {
    let recall = row
        .recall
        .map_or("failed".to_owned(), |Interval { mean, low, high }| format!("{mean:.1} ({low:.1} to {high:.1})"));
    let deviation = row.deviation.map_or(String::new(), |deviation| format!("{deviation:.1}"));
    let apart =
        row.apart.map_or(String::new(), |Interval { mean, low, high }| format!("{mean:+.1} ({low:+.1} to {high:+.1})"));
    [row.name.clone(), recall, deviation, apart]
}

/// The table for people, the best first.
fn words(table: &SweepTable) -> String {
    let heads = ["", "mean R@1, 5, 10 % (95 %)", "sd of seeds", "less the baseline's (95 %)"].map(str::to_owned);
    let lines: Vec<[String; 4]> = [heads].into_iter().chain(table.best_first().into_iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths = [0, 1, 2, 3].map(width);
    let mut words = String::new();
    for [name, recall, deviation, apart] in &lines {
        _ = writeln!(
            words,
            "{name:a$}  {recall:>b$}  {deviation:>c$}  {apart:>d$}",
            a = widths[0],
            b = widths[1],
            c = widths[2],
            d = widths[3]
        );
    }
    let pairs = table.pairs.map_or("pairs of their own, which differ".to_owned(), |pairs| count(pairs, "pair"));
    let is_lost = table.rows.iter().any(|row| row.name == table.baseline && row.recall.is_none());
    let lost = if is_lost { ", which failed, so that nothing is compared with it" } else { "" };
    _ = write!(words, "on {pairs} ({}); the baseline is {}{lost}", table.on, table.baseline);
    if table.left_out > 0 {
        let pairs = count(table.left_out, "pair");
        _ = write!(words, "; {pairs} left out of all, of which an item has no latent");
        for row in table.rows.iter().filter(|row| row.lacking > 0) {
            _ = write!(words, "\n{}: no latent of {} to judge by", row.name, count(row.lacking, "pair"));
        }
    }
    if let Some(best) = &table.best {
        let is_alike = |row: &&&SweepRow| row.among_best && row.name != *best;
        let rows = table.best_first();
        let alike: Vec<&str> = rows.iter().filter(is_alike).map(|row| row.name.as_str()).collect();
        _ = write!(words, "\n{}", super::wording::best(best, &alike));
    }
    if table.pairs.is_none() && table.rows.iter().any(|row| row.recall.is_some()) {
        words += "\nnone is called the best, because not all are judged on the same pairs; `sample`, `limit` or \
                  `where` beside `train` and `test` chooses among both: write it into train = { file = \"...\" }, if \
                  it is meant for that alone";
    }
    table.effects.iter().for_each(|effect| _ = write!(words, "\n{}", effect_line(effect)));
    for row in table.rows.iter().filter(|row| row.error.is_some()) {
        _ = write!(words, "\n{}: {}", row.name, row.error.as_deref().unwrap_or_default());
    }
    words
}

/// What a key does, averaged over what else is varied, in a line.
fn effect_line(SweepEffect { axis, over, values }: &SweepEffect) -> String {
    let value = |of: &SweepEffectValue| {
        let apart = of.apart.map(|Interval { mean, low, high }| format!(" ({mean:+.1}: {low:+.1} to {high:+.1})"));
        format!("{} {:.1}{}", of.value, of.recall.mean, apart.unwrap_or_default())
    };
    let values: Vec<String> = values.iter().map(value).collect();
    format!("{axis}, averaged over {}: {}", count(*over, "variation"), values.join(", "))
}

/// The table as CSV: a line a variation, a column an axis, then what was found.
fn csv(table: &SweepTable) -> String {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut ways: Vec<([String; 2], usize)> = Vec::new();
    for way in table.ways() {
        let of_rows = table.rows.iter().filter_map(|row| row.direction(&way));
        let all: BTreeSet<usize> = of_rows.flat_map(|way| way.recall.keys().copied()).collect();
        ways.extend(all.into_iter().map(|k| (way.clone(), k)));
    }
    let names: Vec<String> = ways.iter().map(|([from, to], k)| format!("R@{k} {from} to {to}")).collect();
    let fixed = [
        ["methods", "seeds", "mean_recall", "low", "high", "deviation", "apart", "apart_low", "apart_high"].as_slice(),
        ["behind", "behind_low", "behind_high", "among_best", "pairs", "lacking", "error"].as_slice(),
    ]
    .concat();
    let axes = table.axes.iter().map(|axis| axis.name.as_str());
    let heads = ["variation"].into_iter().chain(axes).chain(fixed).chain(names.iter().map(String::as_str));
    let mut write = |cells: Vec<String>| writer.write_record(cells).expect("memory takes what there is room for");
    write(heads.map(str::to_owned).collect());
    for row in &table.rows {
        let number = |value: Option<f64>| value.map_or(String::new(), |value| value.to_string());
        let interval = |of: Option<Interval>| {
            [number(of.map(|of| of.mean)), number(of.map(|of| of.low)), number(of.map(|of| of.high))]
        };
        let seeds = row.runs.iter().map(|run| run.seed.to_string()).collect::<Vec<_>>().join(" ");
        let values = table.axes.iter().zip(&row.at);
        let values = values.map(|(axis, at)| at.map_or(String::new(), |at| axis.values[at].clone()));
        let cells = [row.name.clone()].into_iter().chain(values).chain([row.methods.join(" "), seeds]);
        let cells = cells.chain(interval(row.recall)).chain([number(row.deviation)]).chain(interval(row.apart));
        let found = ways.iter().map(|(way, k)| number(row.direction(way).and_then(|way| way.recall.get(k).copied())));
        let cells = cells
            .chain(interval(row.behind))
            .chain([row.among_best.to_string(), row.pairs.map_or(String::new(), |pairs| pairs.to_string())])
            .chain([row.lacking.to_string()]);
        write(cells.chain([row.error.clone().unwrap_or_default()]).chain(found).collect());
    }
    String::from_utf8(writer.into_inner().expect("memory takes what there is room for")).expect("cells are text")
}
