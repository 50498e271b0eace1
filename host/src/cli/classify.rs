//! `fusemix classify`: items into classes that nothing was trained on.

use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};

use super::source::Rows;
use super::{Cli, exit, foretell, output, print};
use crate::device::DeviceChoice;
use crate::eval::Accuracy;
use crate::report::{Page, of_classes};
use crate::session::{Classified, ClassifiedItem, ClassifyOptions, Templates};
use crate::whole_file;
use crate::wording::count;

/// Classify the items of a file into classes that nothing was trained on, and say how well.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The file with the items, and their classes if they are known
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    #[command(flatten)]
    rows: Rows,
    /// The classes: a list of names, a table with items of each, the column of --data with each item's class, or the
    /// names themselves: cat,dog
    #[arg(long, value_name = "FILE|COL|NAMES")]
    labels: String,
    /// The sentences around a class's name: a file with `{}` on each line, one such sentence, `imagenet` for CLIP's 80,
    /// or none
    #[arg(long, value_name = "FILE|TEXT|imagenet|none", default_value = "none", value_parser = templates)]
    templates: Templates,
    /// The column with each item's class [default: that of --labels, or label, class, category or target]
    #[arg(long, value_name = "COL")]
    truth: Option<String>,
    /// Leave out items of classes that --labels does not have, and count them
    #[arg(long)]
    without_unlisted: bool,
    /// The tower of the items [default: the only one that is not of texts]
    #[arg(long, value_name = "TOWER")]
    from: Option<String>,
    /// The tower of the classes [default: the only one of texts]
    #[arg(long, value_name = "TOWER")]
    to: Option<String>,
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// A table of the items with their nearest classes
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// A page of the classes that are mistaken for one another
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

fn templates(text: &str) -> Result<Templates, Infallible> {
    Ok(match text {
        "none" => Templates::None,
        "imagenet" => Templates::Imagenet,
        // A sentence is no file, unless there is one of that name.
        text if text.contains("{}") && !Path::new(text).exists() => Templates::Sentence(text.to_owned()),
        path => Templates::File(path.into()),
    })
}

/// Items and mistakes that are listed; `--json` and `--out` have all.
const LISTED: usize = 10;

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let leaves_out = arguments.without_unlisted;
    let Arguments { run, data, rows, labels, templates, truth, from, to, column, out, page, dry_run, device, .. } =
        arguments;
    let mut inputs = vec![data.as_path(), Path::new(&labels)];
    inputs.extend(if let Templates::File(path) = &templates { Some(path.as_path()) } else { None });
    for (option, path) in [("--out", &out), ("--page", &page)] {
        path.iter().try_for_each(|path| output::check(option, path, &inputs))?;
    }
    let options = ClassifyOptions {
        data: rows.of(&data),
        from,
        column,
        to,
        labels,
        truth,
        templates,
        leaves_out,
        needs_truth: page.is_some(),
    };
    let model = cli.session.model(&run, device)?;
    if dry_run {
        let (columns, of_classes) = model.forecast_classification(&options)?;
        return foretell::columns(cli, &columns, Some(of_classes));
    }
    let page = page.as_deref().map(Page::create).transpose()?;
    let classified = model.classify(&options)?;
    if let Some(path) = &out {
        let write = || format!("cannot write {}; check the folder and the free space on its disk", path.display());
        whole_file::write(path, &table(&classified)?).with_context(write)?;
    }
    match cli.json {
        true => print::json(&to_json(&classified)),
        false => say!("{}", words(&classified, out.as_deref())),
    }
    if let (Some(page), Some(accuracy)) = (page, &classified.accuracy) {
        page.write(&of_classes(&classified, accuracy))?;
    }
    Ok(if classified.failed == 0 { 0 } else { exit::SOME_FAILED })
}

/// The results for people.
fn words(classified: &Classified, out: Option<&Path>) -> String {
    let Classified { classes, towers: [from, to], items, failed, truth, unlisted, accuracy } = classified;
    let mut lines = Vec::new();
    let more = if *failed > 0 { format!(", {failed} without a latent") } else { String::new() };
    lines.push(format!("{} of {from}, {} classes of {to}{more}", count(items.len(), "item"), classes.len()));
    if *unlisted > 0 {
        lines.push(format!("{} of other classes, which do not count", count(*unlisted, "item")));
    }
    let blank = items.iter().filter(|item| item.truth.is_none() && item.unlisted.is_none()).count();
    if truth.is_some() && blank > 0 {
        lines.push(format!("{} without a class, which do not count", count(blank, "item")));
    }
    match accuracy {
        Some(Accuracy { items, top, chance, mean_per_class, interval, .. }) => {
            let row = |values: Vec<f64>| values.iter().map(|value| format!("{value:>12.1}")).collect::<String>();
            let heads = top.keys().map(|k| format!("top-{k} %")).chain(["per class %".to_owned()]);
            lines.push(format!("{:8}{}", "", heads.map(|head| format!("{head:>12}")).collect::<String>()));
            lines.push(format!("{:8}{}", "", row(top.values().copied().chain([*mean_per_class]).collect())));
            lines.push(format!("{:8}{}", "  chance", row(chance.values().copied().chain([chance[&1]]).collect())));
            lines.push(format!(
                "top-1 of {}, whose classes are in column `{}`: {:.1} % (95 %: {:.1} to {:.1})",
                count(*items, "item"),
                truth.as_deref().unwrap_or_default(),
                interval.mean,
                interval.low,
                interval.high
            ));
            let mistakes = accuracy.iter().flat_map(|accuracy| accuracy.mistakes(LISTED));
            lines.extend(
                mistakes.map(|(truth, class, items)| {
                    format!("{:>8}  {} taken for {}", items, classes[truth], classes[class])
                }),
            );
        }
        None => {
            lines.extend(items.iter().take(LISTED).map(|ClassifiedItem { name, nearest, .. }| {
                let nearest = nearest.iter().map(|(class, score)| format!("{} {score:.3}", classes[*class]));
                format!("{name}: {}", nearest.collect::<Vec<_>>().join(", "))
            }));
            if items.len() > LISTED && out.is_none() {
                lines.push(format!("... and {} more; --out FILE has all", items.len() - LISTED));
            }
        }
    }
    lines.join("\n")
}

/// The items as a table: row, item, class if it is known, and the nearest classes with their scores.
fn table(Classified { classes, items, .. }: &Classified) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().delimiter(b'\t').from_writer(Vec::new());
    writer.write_record(["row", "item", "label", "predicted", "score", "others"])?;
    for ClassifiedItem { row, name, truth, unlisted, nearest } in items {
        let truth = truth.map(|truth| classes[truth].as_str()).or(unlisted.as_deref()).unwrap_or_default();
        let (first, others) = nearest.split_first().expect("there are classes");
        let others: Vec<&str> = others.iter().map(|(class, _)| classes[*class].as_str()).collect();
        let (class, score) = (&classes[first.0], first.1.to_string());
        writer.write_record([&row.to_string(), name, truth, class, &score, &others.join("; ")])?;
    }
    Ok(writer.into_inner()?)
}

fn to_json(classified: &Classified) -> Value {
    let Classified { classes, towers, items, failed, truth, unlisted, accuracy } = classified;
    let item = |item: &ClassifiedItem| {
        let nearest = item.nearest.iter().map(|(class, score)| json!({"class": classes[*class], "score": score}));
        let label = item.truth.map(|truth| &classes[truth]).or(item.unlisted.as_ref());
        json!({"row": item.row, "item": item.name, "label": label, "nearest": nearest.collect::<Vec<_>>()})
    };
    let confusion = accuracy
        .iter()
        .flat_map(|accuracy| &accuracy.confusion)
        .map(|((truth, class), items)| json!({"label": classes[*truth], "predicted": classes[*class], "items": items}));
    json!({
        "towers": towers, "classes": classes, "failed": failed, "truth": truth, "unlisted": unlisted,
        "accuracy": accuracy,
        "confusion": confusion.collect::<Vec<_>>(), "items": items.iter().map(item).collect::<Vec<_>>(),
    })
}
