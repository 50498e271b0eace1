//! A file of `[[pairs]]` or `[[unpaired]]`, and the keys that choose among its rows.

use std::path::Path;

use super::toml_file::absolute;
use crate::dataset::{Source, holds_latents};
use crate::filter::{Filter, FilterError};
use crate::wording::{short_path, suggest};

/// The keys that choose among rows.
pub(super) const CHOICES: [&str; 7] = ["root", "columns", "split", "where", "limit", "sample", "seed"];
/// The key of the file itself, where a table names it.
const FILE: &str = "file";

/// Sets what a key of [`CHOICES`] says; relative paths start from `folder`.
pub(super) fn choose(source: &mut Source, key: &str, value: &toml::Value, folder: &Path) -> Result<(), String> {
    let text = || {
        let text = value.as_str().filter(|text| !text.trim().is_empty());
        text.map(str::to_owned).ok_or_else(|| format!("`{key} = {value}` must be text, in quotes"))
    };
    let number = |least: i64| {
        let number = value.as_integer().filter(|number| *number >= least);
        number.ok_or_else(|| format!("`{key} = {value}` must be a whole number, {least} or more"))
    };
    match key {
        "root" => source.root = Some(short_path(&folder.join(text()?))),
        "columns" => source.renamed = renamed(value)?,
        "split" => source.split = Some(text()?),
        "where" => {
            let filter = text()?;
            filter.parse::<Filter>().map_err(|error: FilterError| error.to_string())?;
            source.filter = Some(filter);
        }
        "limit" => source.limit = Some(number(1)? as usize),
        "sample" => source.sample = Some(number(1)? as usize),
        _ => source.seed = number(0)? as u64,
    }
    Ok(())
}

/// The columns of a file by the names that the recipe has for them.
fn renamed(value: &toml::Value) -> Result<Vec<(String, String)>, String> {
    let wrong = || {
        format!("`columns = {value}` must say which column is meant by a name: {{ caption = \"the file's own name\" }}")
    };
    let table = value.as_table().filter(|table| !table.is_empty()).ok_or_else(wrong)?;
    table.iter().map(|(name, own)| Ok((name.clone(), own.as_str().ok_or_else(wrong)?.to_owned()))).collect()
}

/// The key at which choices contradict each other, and how.
pub(super) fn contradiction(source: &Source, keys: &toml::Table) -> Option<(&'static str, String)> {
    if source.limit.is_some() && source.sample.is_some() {
        let reason = "`limit` takes the first rows, and `sample` some at random; remove one of them";
        return Some(("sample", reason.to_owned()));
    }
    if keys.contains_key("seed") && source.sample.is_none() {
        return Some(("seed", "`seed` is that of `sample`, which is not there; add `sample`, or remove it".to_owned()));
    }
    None
}

/// The source that a value of `train`, `validation` or `test` names: a file, or a table with `file` and choices of its
/// own, beside those of `common`.
///
/// # Errors
/// The key within the table that is wrong, if it is one, and why.
pub(super) fn parse(
    name: &str,
    value: &toml::Value,
    common: &Source,
    folder: &Path,
) -> Result<Source, (Option<String>, String)> {
    let at = |text: &str| short_path(&folder.join(text));
    let mut own = Source::default();
    match value {
        toml::Value::String(text) => own.path = at(text),
        toml::Value::Table(table) => {
            for (key, value) in table {
                let wrong = |reason| (Some(key.clone()), reason);
                match value.as_str() {
                    Some(text) if key == FILE => own.path = at(text),
                    _ if CHOICES.contains(&key.as_str()) => choose(&mut own, key, value, folder).map_err(wrong)?,
                    _ if key == FILE => return Err(wrong(format!("`{FILE}` of `{name}` must be text, in quotes"))),
                    _ => {
                        let known = [FILE].into_iter().chain(CHOICES);
                        return Err(wrong(format!("unknown key `{key}` of `{name}`{}", suggest(key, known))));
                    }
                }
            }
            if !table.contains_key(FILE) {
                return Err((None, format!("`{name}` is a table without `{FILE}`, which names the file")));
            }
            if let Some((key, reason)) = contradiction(&own, table) {
                return Err((Some(key.to_owned()), reason));
            }
        }
        _ => {
            let reason = format!("`{name}` must be text, in quotes, or a table: {{ file = \"...\", split = \"...\" }}");
            return Err((None, reason));
        }
    }
    let counts = if own.limit.is_some() || own.sample.is_some() { &own } else { common };
    let (limit, sample, seed) = (counts.limit, counts.sample, counts.seed);
    let source = Source {
        root: own.root.clone().or_else(|| common.root.clone()),
        renamed: if own.renamed.is_empty() { common.renamed.clone() } else { own.renamed.clone() },
        split: own.split.clone().or_else(|| common.split.clone()),
        filter: own.filter.clone().or_else(|| common.filter.clone()),
        ..Source { limit, sample, seed, ..own }
    };
    match source.choice().filter(|_| holds_latents(&source.path)) {
        Some(key) => {
            let path = source.path.display();
            Err((Some(key.to_owned()), format!("`{key}` is about tables, and {path} is a file of latents; remove it")))
        }
        None => Ok(source),
    }
}

/// It as TOML, with absolute paths: the file, or a table if rows are chosen.
pub(super) fn to_toml(source: &Source) -> toml::Value {
    if source.choice().is_none_or(|key| key == "quality_by") {
        return absolute(&source.path);
    }
    let mut table = toml::Table::from_iter([(FILE.to_owned(), absolute(&source.path))]);
    if !source.renamed.is_empty() {
        let names = source.renamed.iter().map(|(name, own)| (name.clone(), toml::Value::from(own.as_str())));
        table.insert("columns".to_owned(), toml::Table::from_iter(names).into());
    }
    let texts = [("split", &source.split), ("where", &source.filter)];
    table.extend(source.root.iter().map(|root| ("root".to_owned(), absolute(root))));
    table.extend(texts.into_iter().filter_map(|(key, text)| Some((key.to_owned(), text.clone()?.into()))));
    let counts = [("limit", source.limit), ("sample", source.sample)];
    table.extend(counts.into_iter().filter_map(|(key, count)| Some((key.to_owned(), (count? as i64).into()))));
    if source.sample.is_some() {
        table.insert("seed".to_owned(), (source.seed as i64).into());
    }
    table.into()
}
