//! `fusemix data`: what is in a file of pairs.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::source::Rows;
use super::{Cli, exit, print};
use crate::dataset::Source;
use crate::session::{Common, Survey, SurveyOptions, SurveyedCaptions, SurveyedItems};
use crate::wording::count;

/// The most rows that are listed of a kind; `--json` has them all.
const LISTED: usize = 20;

/// Say what is in a file of pairs, what is wrong with it, and what another file has in common with it.
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
    /// Read the bytes of all items, to find those that cannot be read, and those of the same content
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
    let against = against.map(|path| Source { split: against_split, root: against_root, ..Source::new(path) });
    let options = SurveyOptions { items: column, captions, read, against, against_columns };
    let survey = cli.session.survey(&rows.of(&file), &options)?;
    match cli.json {
        true => print::json(&json!(survey)),
        false => say!("{}", words(&survey)),
    }
    let is_whole =
        survey.problems.is_empty() && survey.against.as_ref().is_none_or(|against| against.not_compared.is_empty());
    Ok(if is_whole { 0 } else { exit::SOME_FAILED })
}

fn words(survey: &Survey) -> String {
    let Survey { file, format, rows, columns, notes, items, captions, problems, against } = survey;
    let mut lines = vec![format!("{}: {format}, {}", file.display(), count(*rows, "row"))];
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, filled)| match filled == rows {
            true => name.clone(),
            false => format!("{name} (in {})", count(*filled, "row")),
        })
        .collect();
    lines.push(format!("columns: {}", columns.join(", ")));
    lines.extend(notes.iter().map(|note| format!("note: {note}")));
    if let Some(SurveyedItems { column, distinct, contents, missing, empty }) = items {
        let contents = contents.map_or(String::new(), |contents| format!(", {contents} by content"));
        lines.push(format!("items: {distinct} in `{column}`{contents}, {missing} missing, {empty} of zero bytes"));
    }
    if let Some(SurveyedCaptions { column, captions, repeated, per_item }) = captions {
        let per_item = per_item.map_or(String::new(), |(fewest, most, mean)| match fewest == most {
            true => format!(", {fewest} an item"),
            false => format!(", {fewest} to {most} an item ({mean:.1} on average)"),
        });
        lines.push(format!("captions: {captions} in `{column}`{per_item}, {repeated} repeated"));
    }
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
        for (what, rows) in [("the item", items), ("the caption", captions), ("nearly the caption", near)] {
            lines.extend(listed(rows, |[here, there]| format!("row {here} has {what} of row {there} there")));
        }
    }
    lines.join("\n")
}

/// A line each of the first ones, and one that counts the rest.
fn listed<T>(all: &[T], line: impl Fn(&T) -> String) -> Vec<String> {
    let mut lines: Vec<String> = all.iter().take(LISTED).map(line).collect();
    if all.len() > LISTED {
        lines.push(format!("... and {} more; --json lists them all", all.len() - LISTED));
    }
    lines
}
