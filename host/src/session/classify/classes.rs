//! The classes of a classification, and the items that stand for each: names in sentences, or files.

use std::collections::{BTreeMap, HashMap};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::dataset::{Column, DataError, Item, Table, read_table};
use crate::regular;
use crate::session::Error;
use crate::wording::{count, suggest};

/// The 80 sentences of CLIP for ImageNet (Radford et al., ICML 2021).
const IMAGENET: &str = include_str!("templates.imagenet.txt");

/// The sentences that a class name is put into.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Templates {
    /// None: the name is the text.
    #[default]
    None,
    /// Those of CLIP for ImageNet.
    Imagenet,
    /// This one, with `{}` in the name's place.
    Sentence(String),
    /// The lines of a file, each with `{}` in the name's place.
    File(PathBuf),
}

/// A class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Class {
    /// Its name.
    pub(super) name: String,
    /// What it is called in the data, if not by its name.
    id: Option<String>,
    /// The items that stand for it: texts, files, or parts of archives.
    pub(super) items: Vec<ClassItem>,
}

/// An item that stands for a class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ClassItem {
    Text(String),
    File(PathBuf),
    /// The bytes of a part of an archive.
    Part(Vec<u8>),
}

impl Templates {
    /// The sentences, each with `{}` in it.
    fn sentences(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::None => Ok(vec!["{}".to_owned()]),
            Self::Imagenet => Ok(IMAGENET.lines().map(str::to_owned).collect()),
            Self::Sentence(text) => Ok(vec![text.clone()]),
            Self::File(path) => {
                let text = read(path)?;
                let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
                if let Some(at) = lines.iter().position(|line| !line.contains("{}")) {
                    let reason = format!("`{}` has no {{}} for the class's name", lines[at]);
                    return Err(DataError::Format { path: path.clone(), reason }.into());
                }
                if lines.is_empty() {
                    let reason =
                        "there are no templates: write one on each line, such as `a photo of a {}.`".to_owned();
                    return Err(DataError::Format { path: path.clone(), reason }.into());
                }
                Ok(lines.into_iter().map(str::to_owned).collect())
            }
        }
    }
}

/// A line of a list of classes: its name, or what the data call it, a tab, and its name.
fn listed(path: &Path) -> Result<Vec<(Option<String>, String)>, Error> {
    let text = read(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Ok(lines
        .map(|line| match line.split_once('\t') {
            Some((id, name)) => (Some(id.trim().to_owned()), name.trim().to_owned()),
            None => (None, line.to_owned()),
        })
        .collect())
}

fn read(path: &Path) -> Result<String, Error> {
    let text = regular::read_text(path, regular::BY_HAND);
    let text = text.map_err(|cause| match cause.kind() {
        ErrorKind::InvalidData => {
            DataError::Format { path: path.to_owned(), reason: format!("{cause}; save the file as UTF-8") }
        }
        _ => DataError::Read { path: path.to_owned(), cause },
    })?;
    Ok(text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned())
}

/// The classes that `labels` tells: a list of names, a table with a column `label` and an item of each class in each
/// row, or the column of `data` with each item's class.
pub(super) fn classes(
    labels: &str,
    data: &Table,
    (modality, holds_files): (&str, bool),
    templates: &Templates,
) -> Result<Vec<Class>, Error> {
    let path = Path::new(labels);
    let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_lowercase);
    let classes = match ending.as_deref() {
        _ if data.column(labels).is_ok() => {
            check_one_each(data, labels)?;
            let names = distinct(data.column(labels)?)?.into_iter().map(|name| (None, name));
            named(labels, names.collect(), holds_files, templates)?
        }
        // Names themselves.
        _ if labels.contains(',') && !labels.contains('{') && !path.exists() => {
            let names = labels.split(',').map(str::trim).filter(|name| !name.is_empty());
            named(labels, names.map(|name| (None, name.to_owned())).collect(), holds_files, templates)?
        }
        Some("tsv" | "csv" | "jsonl" | "ndjson" | "json" | "parquet" | "tar" | "token") => {
            shown(&read_table(path)?, modality, holds_files)?
        }
        _ if path.is_dir() || labels.contains('{') && !path.exists() => {
            shown(&read_table(path)?, modality, holds_files)?
        }
        _ if path.exists() || ending.is_some() => named(labels, listed(path)?, holds_files, templates)?,
        // It is neither.
        _ => return Err(no_labels(labels, data)),
    };
    if classes.len() < 2 {
        return Err(Error::FewClasses { labels: labels.to_owned(), classes: classes.len() });
    }
    let mut seen = HashMap::new();
    for (at, class) in classes.iter().enumerate() {
        for name in [Some(&class.name), class.id.as_ref()].into_iter().flatten() {
            if seen.insert(name, at).is_some_and(|other| other != at) {
                return Err(Error::SameClass { labels: labels.to_owned(), class: name.clone() });
            }
        }
    }
    Ok(classes)
}

/// The error of labels that are neither a file, nor a column, nor several names.
fn no_labels(labels: &str, data: &Table) -> Error {
    let named = data.names().iter().map(String::as_str);
    let reason = format!(
        "no column `{labels}`{}, and no file of that name; names themselves stand with commas between them: --labels \
         cat,dog",
        suggest(labels, named)
    );
    DataError::Format { path: data.path().to_owned(), reason }.into()
}

/// Classes by name, as texts in sentences.
fn named(
    labels: &str,
    names: Vec<(Option<String>, String)>,
    holds_files: bool,
    templates: &Templates,
) -> Result<Vec<Class>, Error> {
    if holds_files {
        return Err(Error::NamedClasses { labels: labels.to_owned() });
    }
    let sentences = templates.sentences()?;
    let class = |(id, name): (Option<String>, String)| {
        let items = sentences.iter().map(|sentence| ClassItem::Text(sentence.replace("{}", &name))).collect();
        Class { name, id, items }
    };
    Ok(names.into_iter().map(class).collect())
}

/// Classes by items in a table: several of a class stand for it together.
fn shown(table: &Table, modality: &str, holds_files: bool) -> Result<Vec<Class>, Error> {
    let (names, items) = (table.column(LABEL)?, table.usual_column(modality)?);
    let mut classes: Vec<Class> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    for row in 0..names.len() {
        let name = names.text(row)?.trim().to_owned();
        if name.is_empty() || names.broken(row).is_some() {
            continue;
        }
        let item = match (items.item(row), holds_files) {
            (Item::Member(member), true) => {
                let bytes = Item::Member(member).read();
                let damaged = |reason| DataError::Format { path: table.path().to_owned(), reason };
                ClassItem::Part(bytes.map_err(damaged)?.into_owned())
            }
            (_, true) => ClassItem::File(items.file(row)),
            (_, false) => ClassItem::Text(items.text(row)?.to_owned()),
        };
        let at = *known.entry(name.clone()).or_insert(classes.len());
        if at == classes.len() {
            classes.push(Class { name, id: None, items: Vec::new() });
        }
        classes[at].items.push(item);
    }
    Ok(classes)
}

/// The column with the class of each row, in tables of classes and usually in data.
const LABEL: &str = "label";
/// Usual names of that column in data.
pub(super) const USUAL: [&str; 4] = [LABEL, "class", "category", "target"];

/// The cells of a column, each once, in order.
fn distinct(column: Column<'_>) -> Result<Vec<String>, Error> {
    let mut names = BTreeMap::new();
    for row in 0..column.len() {
        let name = column.text(row)?.trim();
        if !name.is_empty() {
            names.insert(name.to_owned(), ());
        }
    }
    Ok(names.into_keys().collect())
}

/// Refuses a column with lists of classes.
fn check_one_each(data: &Table, column: &str) -> Result<(), Error> {
    if !data.column(column)?.holds_lists() {
        return Ok(());
    }
    let reason = format!(
        "the cells of column `{column}` are lists, and an item has one class here: name a column with one, or list the \
         classes and pass --truth none"
    );
    Err(DataError::Format { path: data.path().to_owned(), reason }.into())
}

/// The word for a truth that nobody knows.
const NONE: &str = "none";

/// The column of `data` with each item's class: the named one, the one that the classes are from, or a usual one; and
/// whether it is a guess. None for `none`.
pub(super) fn truth<'a>(
    data: &'a Table,
    named: Option<&str>,
    labels: &str,
) -> Result<Option<(Column<'a>, bool)>, Error> {
    match named {
        Some(NONE) if data.column(NONE).is_err() => return Ok(None),
        Some(name) => {
            check_one_each(data, name)?;
            return Ok(Some((data.column(name)?, false)));
        }
        None => {}
    }
    if let Ok(column) = data.column(labels) {
        return Ok(Some((column, false)));
    }
    Ok(USUAL.iter().find_map(|name| data.column(name).ok()).map(|column| (column, true)))
}

/// The classes of rows.
pub(super) struct Truth {
    /// The name of the column.
    pub(super) column: String,
    /// Of each row; none where the cell is empty, or names a class that is not among those.
    pub(super) of: Vec<Option<usize>>,
    /// Rows of a class that is not among those.
    pub(super) unlisted: usize,
}

/// A class that is not among those that items are classified into: its name, its rows, and the first of them.
type Unlisted<'a> = BTreeMap<&'a str, (usize, usize)>;

/// The class of each row, by what the data call it. A class that is not among `classes` is an error, unless it is left
/// out.
pub(super) fn true_classes(
    column: Column<'_>,
    classes: &[Class],
    labels: &str,
    leaves_out: bool,
) -> Result<Truth, Error> {
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (at, class) in classes.iter().enumerate() {
        by_name.insert(&class.name, at);
        by_name.extend(class.id.as_deref().map(|id| (id, at)));
    }
    let are_numbers = by_name.keys().any(|name| name.parse::<f64>().is_ok());
    // The least of the numbers that count classes.
    let mut least: Option<usize> = None;
    let mut unlisted = Unlisted::new();
    let mut of = |row: usize| {
        let cell = column.text(row)?.trim();
        // Where no class is called by a number, a number counts them, from 0.
        let number = cell.parse().ok().filter(|_| !are_numbers);
        let by_number = number.filter(|at| *at < classes.len());
        let spaced = || by_name.get(cell.replace('_', " ").as_str()).copied();
        match by_name.get(cell).copied().or(by_number).or_else(spaced) {
            _ if cell.is_empty() => Ok::<_, Error>(None),
            Some(class) => {
                least = by_number.into_iter().chain(least).min();
                Ok(Some(class))
            }
            None => {
                unlisted.entry(cell).or_insert((0, row)).0 += 1;
                Ok(None)
            }
        }
    };
    let all: Vec<Option<usize>> = (0..column.len()).map(&mut of).collect::<Result<_, Error>>()?;
    let lost = unlisted.values().map(|(rows, _)| rows).sum();
    // Where no row is of any of the classes, there is nothing to leave out from.
    if !unlisted.is_empty() && (!leaves_out || all.iter().all(Option::is_none)) {
        return Err(no_class(column, &unlisted, (classes, labels), are_numbers));
    }
    if least.is_some_and(|least| least > 0) {
        let (path, name) = (column.source().display(), column.name());
        tracing::warn!("{path}, column `{name}`: no item is of class 0{}", counted_from(labels));
    }
    Ok(Truth { column: column.name().to_owned(), of: all, unlisted: lost })
}

/// The error that names all classes which are not among those, with their rows.
fn no_class(
    column: Column<'_>,
    unlisted: &Unlisted<'_>,
    (classes, labels): (&[Class], &str),
    are_numbers: bool,
) -> Error {
    let mut all: Vec<(&str, usize, usize)> = unlisted.iter().map(|(name, (rows, row))| (*name, *rows, *row)).collect();
    all.sort_by_key(|(_, _, row)| *row);
    let (first, _, row) = all[0];
    let shown = |(name, rows, _): &(&str, usize, usize)| format!("`{name}` ({})", count(*rows, "row"));
    let mut others: Vec<String> = all[1..].iter().take(SHOWN).map(shown).collect();
    if all.len() > 1 + SHOWN {
        others.push(format!("and {} more", all.len() - 1 - SHOWN));
    }
    let rows: usize = all.iter().map(|(_, rows, _)| rows).sum();
    let others = match all.len() {
        1 => format!(" ({})", count(rows, "row")),
        _ => format!(" ({}); nor does it have {}", count(all[0].1, "row"), others.join(", ")),
    };
    Error::NoClass {
        path: column.source().to_owned(),
        row: column.number(row),
        class: first.to_owned(),
        suggestion: match !are_numbers && first.parse::<f64>().is_ok() {
            true => counted_from(labels),
            false => suggest(first, classes.iter().take(SHOWN).map(|class| class.name.as_str())),
        },
        labels: labels.to_owned(),
        others: others.into(),
    }
}

/// The rule for numbers of classes.
fn counted_from(labels: &str) -> String {
    format!(
        "; numbers count the classes of {labels} from 0, so if these count from 1, begin each of its lines with the \
         class's number and a tab"
    )
}

/// Classes that an error names at most.
const SHOWN: usize = 40;

impl ClassItem {
    /// The same as a query of a tower.
    pub(super) fn query(&self) -> Item<'_> {
        match self {
            Self::Text(text) => Item::text(text),
            Self::File(path) => Item::file(path),
            Self::Part(bytes) => Item::bytes(bytes.as_slice()),
        }
    }
}

impl Class {
    /// Its items as queries of a tower.
    pub(super) fn queries(&self) -> impl Iterator<Item = Item<'_>> {
        self.items.iter().map(ClassItem::query)
    }
}
