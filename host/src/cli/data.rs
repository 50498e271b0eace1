//! `fusemix data`: what is in a file of pairs.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::source::Rows;
use super::{Cli, exit, print};
use crate::dataset::Source;
use crate::session::{
    Common, Gap, NearCaptions, Survey, SurveyOptions, SurveyedCaptions, SurveyedItems, SurveyedLatents,
};
use crate::wording::{beginning, count};

/// The most rows that are listed of a kind; `--json` has them all.
const LISTED: usize = 20;
/// The most letters of a caption that are shown.
const QUOTED: usize = 60;

/// Say what is in a file of pairs or of latents, what is wrong with it, and what another file has in common with it.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The file, or the folder
    file: PathBuf,
    #[command(flatten)]
    rows: Rows,
    /// The column with the pictures or sounds [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// The column with the captions [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    captions: Option<String>,
    /// Read the bytes of all items, to find those that cannot be read, and those of the same content; of latents, all
    /// values
    #[arg(long)]
    read: bool,
    /// Another file, to name what both have in common: items by content, and captions that are the same or nearly so
    #[arg(long, value_name = "FILE")]
    against: Option<PathBuf>,
    /// The rows of that file which are of this split, or of several: `test`, where one file has all splits
    #[arg(long, value_name = "NAME", requires = "against")]
    against_split: Option<String>,
    /// The folder that the files in that file are relative to, instead of its own
    #[arg(long, value_name = "DIR", requires = "against")]
    against_root: Option<PathBuf>,
    /// The column of that file with the pictures or sounds [default: as here, or guessed]
    #[arg(long, value_name = "COL", requires = "against")]
    against_column: Option<String>,
    /// The column of that file with the captions [default: as here, or guessed]
    #[arg(long, value_name = "COL", requires = "against")]
    against_captions: Option<String>,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let Arguments { file, rows, column, captions, read, against, against_split, against_root, .. } = arguments;
    let against_columns = [arguments.against_column, arguments.against_captions];
    // The same file has its files in the same folder.
    let same = against.as_ref().is_some_and(|path| *path == file);
    let against_root = against_root.or_else(|| rows.root.clone().filter(|_| same));
    let against = against.map(|path| Source { split: against_split, root: against_root, ..Source::new(path) });
    let options = SurveyOptions { items: column, captions, read, against, against_columns };
    let survey = cli.session.survey(&rows.of(&file), &options)?;
    match cli.json {
        true => print::json(&json!(survey)),
        false => say!("{}", words(&survey)),
    }
    let is_whole = survey.problems.is_empty()
        && survey.gaps.is_empty()
        && survey.against.as_ref().is_none_or(|against| against.not_compared.is_empty());
    Ok(if is_whole { 0 } else { exit::SOME_FAILED })
}

fn words(survey: &Survey) -> String {
    let Survey { file, format, rows, columns, notes, items, captions, latents, gaps, problems, against } = survey;
    let mut lines = vec![format!("{}: {format}, {}", file.display(), count(*rows, "row"))];
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, filled)| match filled == rows {
            true => name.clone(),
            false => format!("{name} (in {})", count(*filled, "row")),
        })
        .collect();
    if latents.is_empty() {
        lines.push(format!("columns: {}", columns.join(", ")));
    }
    lines.extend(notes.iter().map(|note| format!("note: {note}")));
    lines.extend(latents.iter().map(tensor));
    if let Some(SurveyedItems { column, distinct, contents, missing, empty, unknown }) = items {
        let contents = contents.map_or(String::new(), |contents| format!(", {contents} by content"));
        let unknown = match unknown {
            0 => String::new(),
            unknown => format!(", {unknown} not looked at (of a part with nulls; --read looks at all)"),
        };
        let empty = empty.map_or(String::new(), |empty| format!(", {empty} of zero bytes"));
        lines.push(format!("items: {distinct} in `{column}`{contents}, {missing} missing{empty}{unknown}"));
    }
    if let Some(SurveyedCaptions { column, captions, repeated, per_item }) = captions {
        let per_item = per_item.map_or(String::new(), |(fewest, most, mean)| match fewest == most {
            true => format!(", {fewest} an item"),
            false => format!(", {fewest} to {most} an item ({mean:.1} on average)"),
        });
        lines.push(format!("captions: {captions} in `{column}`{per_item}, {repeated} repeated"));
    }
    lines.extend(gaps.iter().map(gap));
    let problem = |problem: &crate::session::Problem| format!("row {}: {}", problem.row, problem.reason);
    lines.extend(listed(problems, problem));
    if let Some(Common { file, items, captions, near, not_compared }) = against {
        lines.extend(not_compared.iter().map(|what| format!("not compared with {}: {what}", file.display())));
        lines.push(format!(
            "in common with {}: {}, {}, {} that {} nearly the same",
            file.display(),
            count(items.len(), "item"),
            count(captions.len(), "caption"),
            count(near.len(), "caption"),
            if near.len() == 1 { "is" } else { "are" },
        ));
        lines.extend(listed(near, |NearCaptions { rows: [here, there], texts: [text, other] }| {
            let [text, other] = [text, other].map(|caption| beginning(caption, QUOTED));
            format!("row {here} is nearly row {there} there: \"{text}\", \"{other}\"")
        }));
        for (what, rows) in [("item", items), ("caption", captions)] {
            lines.extend(listed(rows, |[here, there]| format!("row {here} has the {what} of row {there} there")));
        }
    }
    lines.join("\n")
}

/// A tensor of a file of latents in words.
fn tensor(latents: &SurveyedLatents) -> String {
    let SurveyedLatents { tensor, stored, shape, unusable, values, repeated } = latents;
    let name = if tensor.is_empty() { "the array".to_owned() } else { format!("tensor `{tensor}`") };
    let of = match (unusable, &shape[..]) {
        (Some(reason), _) => return format!("{name}: no latents: {reason}"),
        (None, [rows, width]) => format!("{name}: {} of {}, {stored}", count(*rows, "row"), count(*width, "value")),
        (None, shape) => format!("{name}: {shape:?}, {stored}"),
    };
    values.map_or(of.clone(), |values| {
        format!(
            "{of}; {} of NaN alone, {} not finite, {} far from all others, {} of zeros, {} repeated",
            count(values.failed, "row"),
            values.not_finite,
            values.far,
            values.zeros,
            values.repeated
        ) + &repeats(repeated, values.repeated)
    })
}

/// The first rows of latents that repeat others, of so many.
fn repeats(first: &[[usize; 2]], all: usize) -> String {
    let named: Vec<String> = first.iter().map(|[row, earlier]| format!("row {row} is row {earlier}")).collect();
    match named.is_empty() {
        true => String::new(),
        false => format!(" ({}{})", named.join(", "), if first.len() < all { ", ..." } else { "" }),
    }
}

/// The cells that say nothing in words.
fn gap(gap: &Gap) -> String {
    let Gap { column, what, rows, first } = gap;
    let what = if *what == "blank" { "has white space alone" } else { "is empty" };
    let more = if first.len() < *rows { ", ..." } else { "" };
    let first: Vec<String> = first.iter().map(usize::to_string).collect();
    format!("column `{column}` {what} in {}: row {}{more}", count(*rows, "row"), first.join(", "))
}

/// A line each of the first ones, and one that counts the rest.
fn listed<T>(all: &[T], line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<String> = all.iter().take(LISTED).map(line).collect();
    if all.len() > LISTED {
        lines.push(format!("... and {} more; --json lists them all", all.len() - LISTED));
    }
    lines
}
