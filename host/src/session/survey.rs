//! What is in a file of pairs, and what of it is in another.

mod common;
mod gaps;
mod latents;
#[cfg(test)]
mod tests;

use serde::Serialize;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use self::gaps::gaps;
use super::{Error, Event, Session};
use crate::dataset::{Column, Item, Look, Source, Table, holds_latents, in_order, no_path, no_text};

pub use common::{Common, NearCaptions};
pub use gaps::Gap;
pub use latents::{SurveyedLatents, SurveyedValues};

/// What is in a file of pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Survey {
    /// The file, or the folder.
    pub file: PathBuf,
    /// Its format.
    pub format: &'static str,
    /// Rows, also those that cannot be read; a row for each caption where there are several an item.
    pub rows: usize,
    /// The columns, with the cells that are not empty.
    pub columns: Vec<(String, usize)>,
    /// What a reader should know, as rows that were left out.
    pub notes: Vec<String>,
    /// The column with the items, if there is one.
    pub items: Option<SurveyedItems>,
    /// The column with the captions, if there is one.
    pub captions: Option<SurveyedCaptions>,
    /// The tensors of a file of latents; none in a table.
    pub latents: Vec<SurveyedLatents>,
    /// Cells of items and captions that say nothing.
    pub gaps: Vec<Gap>,
    /// Rows that cannot be used, with the reasons.
    pub problems: Vec<Problem>,
    /// What it has in common with another file.
    pub against: Option<Common>,
}

/// The pictures or sounds of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyedItems {
    /// The column.
    pub column: String,
    /// Different ones, by name.
    pub distinct: usize,
    /// Different ones, by content; none if they were not read.
    pub contents: Option<usize>,
    /// Those that are not there, or cannot be read.
    pub missing: usize,
    /// Those of zero bytes; none where only reading them tells their length.
    pub empty: Option<usize>,
    /// Those of which nothing is known without reading them: their part of the file has rows that are null.
    pub unknown: usize,
}

/// The captions of a file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SurveyedCaptions {
    /// The column, or several in its place.
    pub column: String,
    /// Captions that are not empty.
    pub captions: usize,
    /// Captions that an earlier row has too.
    pub repeated: usize,
    /// The fewest and the most captions of an item, and their mean.
    pub per_item: Option<(usize, usize, f64)>,
}

/// A row that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Problem {
    /// The row in the file, from 1.
    pub row: usize,
    /// What is wrong, and where.
    pub reason: String,
}

/// What to survey besides the file.
#[derive(Clone, Debug, Default)]
pub struct SurveyOptions {
    /// The column with the items; guessed if none is named.
    pub items: Option<String>,
    /// The column with the captions; guessed if none is named.
    pub captions: Option<String>,
    /// True to read all items, to find those that cannot be read, and those of the same content.
    pub read: bool,
    /// A file to compare with.
    pub against: Option<Source>,
    /// The columns of its items and captions, if they are not those of this file, nor guessed.
    pub against_columns: [Option<String>; 2],
}

/// A file with its columns.
struct Opened {
    table: Table,
    items: Option<String>,
    captions: Option<String>,
}

impl Opened {
    fn new(table: Table, options: &SurveyOptions) -> Result<Self, Error> {
        let named = |name: &String| table.column(name).map(|column| column.name().to_owned());
        let items = options.items.as_ref().map(named).transpose()?.or_else(|| table.guess_items());
        let captions = match &options.captions {
            Some(name) => vec![named(name)?],
            None => table.guess_captions(),
        };
        let (table, captions) = table.with_captions(&captions)?;
        Ok(Self { table, items, captions })
    }

    fn items(&self) -> Result<Option<Column<'_>>, Error> {
        Ok(self.items.as_deref().map(|name| self.table.column(name)).transpose()?)
    }

    fn captions(&self) -> Result<Option<Column<'_>>, Error> {
        Ok(self.captions.as_deref().map(|name| self.table.column(name)).transpose()?)
    }
}

/// What is known of each row's item.
enum Content {
    Missing(String),
    Empty(String),
    /// The hash of its content, if it was read.
    Whole(Option<blake3::Hash>),
    /// It is there, and was not read, so that it may have no bytes.
    There,
    Unknown,
}

impl Session {
    /// Surveys a table, or a file of latents, without an encoder.
    pub fn survey(&self, source: &Source, options: &SurveyOptions) -> Result<Survey, Error> {
        if holds_latents(&source.path) {
            return self.survey_latents(source, options);
        }
        let opened = Opened::new(naming(source, [&options.items, &options.captions]).table()?, options)?;
        if options.against.is_some() && opened.items.is_none() && opened.captions.is_none() {
            return Err(Error::NothingToCompare { path: opened.table.path().to_owned() });
        }
        let read = options.read || options.against.is_some();
        let contents = self.contents(&opened, read)?;
        let table = &opened.table;
        let mut problems: Vec<Problem> = table
            .broken()
            .iter()
            .map(|(row, reason)| Problem { row: table.number(*row), reason: reason.clone() })
            .collect();
        let first = first_rows(&opened)?;
        let mut seen = HashSet::new();
        let (mut missing, mut empty, mut unknown) = (0, 0, 0);
        for &row in first.values() {
            let (counted, reason) = match contents.get(&row) {
                Some(Content::Missing(reason)) => (&mut missing, reason),
                Some(Content::Empty(reason)) => (&mut empty, reason),
                Some(Content::Whole(Some(hash))) => {
                    seen.insert(*hash);
                    continue;
                }
                Some(Content::Unknown) => {
                    unknown += 1;
                    continue;
                }
                Some(Content::There | Content::Whole(None)) | None => continue,
            };
            *counted += 1;
            problems.push(Problem { row: table.number(row), reason: reason.clone() });
        }
        problems.extend(no_texts(&opened)?);
        problems.sort();
        problems.dedup();
        let items = opened.items.as_ref().map(|column| SurveyedItems {
            column: column.clone(),
            distinct: first.len(),
            contents: read.then_some(seen.len()),
            missing,
            empty: contents
                .values()
                .all(|content| !matches!(content, Content::There | Content::Unknown))
                .then_some(empty),
            unknown,
        });
        let mut gaps: Vec<Gap> = opened.items()?.into_iter().flat_map(|items| self::gaps(items, false)).collect();
        gaps.extend(opened.captions()?.into_iter().flat_map(|captions| self::gaps(captions, true)));
        let against =
            options.against.as_ref().map(|other| self.common(&opened, &contents, other, options)).transpose()?;
        let filled = |name: &String| {
            let column = table.column(name).ok();
            column.map_or(0, |column| (0..column.len()).filter(|&row| !column.cell(row).is_empty()).count())
        };
        Ok(Survey {
            file: table.path().to_owned(),
            format: table.format(),
            rows: table.len(),
            columns: table.names().iter().map(|name| (name.clone(), filled(name))).collect(),
            notes: table.notes(),
            captions: captions_of(&opened)?,
            items,
            latents: Vec::new(),
            gaps,
            problems,
            against,
        })
    }

    /// What is known of the first row of each item.
    fn contents(&self, opened: &Opened, read: bool) -> Result<HashMap<usize, Content>, Error> {
        let Some(column) = opened.items()? else { return Ok(HashMap::new()) };
        let mut rows: Vec<usize> = first_rows(opened)?.into_values().collect();
        rows.sort_unstable();
        let (done, total, file) = (AtomicUsize::new(0), rows.len(), opened.table.path());
        let contents = in_order(&rows, |row| {
            if !self.should_stop() {
                let done = done.fetch_add(1, Ordering::Relaxed) + 1;
                if done.is_multiple_of(256) {
                    self.see(Event::Looking { file, done, total });
                }
            }
            (row, if self.should_stop() { Content::Whole(None) } else { content(column, row, read) })
        });
        self.see(Event::Ended);
        if self.should_stop() { Err(Error::Stopped) } else { Ok(contents.into_iter().collect()) }
    }
}

/// A source whose columns of these names are read, however many its rows have.
fn naming<'a>(source: &Source, names: impl IntoIterator<Item = &'a Option<String>>) -> Source {
    Source { named: names.into_iter().flatten().cloned().collect(), ..source.clone() }
}

/// The first row of each item, by its name; rows that name none have a gap.
fn first_rows(opened: &Opened) -> Result<BTreeMap<Cow<'_, [u8]>, usize>, Error> {
    let mut first = BTreeMap::new();
    if let Some(column) = opened.items()? {
        let is_named = |row: &usize| column.broken(*row).is_none() && !column.cell(*row).is_empty();
        for row in (0..column.len()).filter(is_named) {
            first.entry(column.known_by(row)).or_insert(row);
        }
    }
    Ok(first)
}

/// What is known of an item: whether it is there, and if it is `read`, its content.
fn content(column: Column<'_>, row: usize, read: bool) -> Content {
    let empty = |name: String| Content::Empty(format!("{name} has no bytes"));
    let item = column.item(row);
    let name = item.name();
    match &item {
        Item::Member(member) if member.length() == Some(0) => return empty(name),
        Item::File(path) => match std::fs::metadata(path) {
            Ok(file) if file.len() == 0 => return empty(name),
            Ok(_) => {}
            Err(error) => {
                return Content::Missing(format!("cannot read {name}: {error}{}", no_path(column.cell(row))));
            }
        },
        Item::Member(member) if !read => match member.look() {
            Look::There if member.length().is_none() => return Content::There,
            Look::There => {}
            Look::Missing(reason) => return Content::Missing(reason),
            Look::Unknown => return Content::Unknown,
        },
        _ => {}
    }
    if !read {
        return Content::Whole(None);
    }
    match item.read() {
        Ok(bytes) if bytes.is_empty() => empty(name),
        Ok(bytes) => Content::Whole(Some(blake3::hash(&bytes))),
        Err(reason) => Content::Missing(reason),
    }
}

/// The captions that are no text.
fn no_texts(opened: &Opened) -> Result<Vec<Problem>, Error> {
    let Some(column) = opened.captions()? else { return Ok(Vec::new()) };
    let of = |row: usize| {
        let reason = format!("column `{}`: {}", column.name(), no_text(column.cell(row))?);
        Some(Problem { row: column.number(row), reason })
    };
    Ok((0..column.len()).filter_map(of).collect())
}

fn captions_of(opened: &Opened) -> Result<Option<SurveyedCaptions>, Error> {
    let Some(column) = opened.captions()? else { return Ok(None) };
    let items = opened.items()?;
    let (mut captions, mut seen, mut of_items) = (0, HashSet::new(), HashMap::<Cow<'_, [u8]>, usize>::new());
    for row in (0..column.len()).filter(|&row| !column.cell(row).is_empty()) {
        captions += 1;
        seen.insert(column.cell(row));
        if let Some(items) = items.filter(|items| !items.cell(row).is_empty()) {
            *of_items.entry(items.known_by(row)).or_default() += 1;
        }
    }
    let (fewest, most) = (of_items.values().min(), of_items.values().max());
    let mean = of_items.values().sum::<usize>() as f64 / of_items.len().max(1) as f64;
    let per_item = fewest.zip(most).map(|(fewest, most)| (*fewest, *most, mean));
    Ok(Some(SurveyedCaptions { column: column.name().to_owned(), captions, repeated: captions - seen.len(), per_item }))
}
