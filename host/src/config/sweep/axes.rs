//! The keys of a sweep whose values are varied, and the documents that come of it.

use super::MOST;
use crate::config::subset::SUBSET;
use crate::config::toml_file::{ConfigError, TomlFile};

/// The keys of a recipe whose value is a list of values to vary.
pub(super) fn found(whole: &toml::Value) -> Vec<Vec<String>> {
    fn walk(value: &toml::Value, keys: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
        match value {
            toml::Value::Table(table) => {
                for (key, value) in table {
                    keys.push(key.clone());
                    walk(value, keys, found);
                    keys.pop();
                }
            }
            toml::Value::Array(list)
                if !list.is_empty() && list.iter().all(toml::Value::is_table) && !is_value_a_table(keys) =>
            {
                // [[pairs]], [[unpaired]] and `parts`.
                for (at, value) in list.iter().enumerate() {
                    keys.push(at.to_string());
                    walk(value, keys, found);
                    keys.pop();
                }
            }
            toml::Value::Array(list) if is_varied(keys, list) => found.push(keys.clone()),
            _ => {}
        }
    }
    let mut all = Vec::new();
    walk(whole, &mut Vec::new(), &mut all);
    all
}

/// True if a value at these keys may be a table: a file with what chooses among its rows, and the names of columns.
fn is_value_a_table(keys: &[String]) -> bool {
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    matches!(
        &keys[..],
        ["pairs" | "unpaired", _, "train" | "validation" | "test" | "columns"]
            | ["pairs" | "unpaired", _, "train" | "validation" | "test", "columns"]
    )
}

/// True if a list at these keys is one of values, and not itself a value: a tower's `encoders`, and the columns of
/// captions in a pair set, are lists in any recipe.
fn is_varied(keys: &[String], list: &[toml::Value]) -> bool {
    let of_lists = list.iter().any(toml::Value::is_array);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    match &keys[..] {
        ["tower", _, "encoders"] => of_lists,
        ["pairs" | "unpaired", _, "root" | "split" | "where" | "limit" | "sample" | "seed" | "weight"] => true,
        ["pairs" | "unpaired", _, "train" | "validation" | "test" | "columns"] => true,
        ["pairs", _, key] if SUBSET.contains(key) => true,
        ["pairs" | "unpaired", _, _] => of_lists,
        _ => true,
    }
}

/// A recipe of a sweep: its place on each axis, and its document.
pub(super) type Place = (Vec<usize>, toml::Value);

/// All combinations of a document's lists; values that no axis has yet are added to it.
pub(super) fn product(
    file: &TomlFile,
    whole: &toml::Value,
    axes: &mut [(Vec<String>, Vec<toml::Value>)],
) -> Result<Vec<Place>, ConfigError> {
    let mut all: Vec<Place> = vec![(Vec::new(), whole.clone())];
    for (keys, known) in axes {
        let way: Vec<&str> = keys.iter().map(String::as_str).collect();
        let values = match at(whole, keys) {
            Some(toml::Value::Array(list)) if is_varied(keys, list) => list.clone(),
            // A variant that leaves the key out has its default.
            value => vec![value.cloned().unwrap_or_else(|| DEFAULT.into())],
        };
        if values.is_empty() {
            let message = format!("`{}` has no values to vary", keys.join("."));
            return Err(file.error_at(&way, message));
        }
        let mut next = Vec::with_capacity(all.len() * values.len());
        if all.len() * values.len() > MOST {
            let message = format!("this makes more than {MOST} variations; vary fewer keys, or fewer values");
            return Err(file.error_at(&way, message));
        }
        for (places, document) in all {
            for value in &values {
                let place = known.iter().position(|known| known == value).unwrap_or_else(|| {
                    known.push(value.clone());
                    known.len() - 1
                });
                let mut document = document.clone();
                if value.as_str() != Some(DEFAULT) {
                    set(&mut document, keys, value.clone());
                }
                let places = places.iter().copied().chain([place]).collect();
                next.push((places, document));
            }
        }
        all = next;
    }
    Ok(all)
}

/// The value of a key that a variant leaves out.
const DEFAULT: &str = "(default)";

/// The value that keys lead to.
pub(super) fn at<'a>(value: &'a toml::Value, keys: &[String]) -> Option<&'a toml::Value> {
    keys.iter().try_fold(value, |value, key| match value {
        toml::Value::Table(table) => table.get(key),
        toml::Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        _ => None,
    })
}

fn set(value: &mut toml::Value, keys: &[String], new: toml::Value) {
    let place = keys.iter().try_fold(value, |value, key| match value {
        toml::Value::Table(table) => table.get_mut(key),
        toml::Value::Array(list) => list.get_mut(key.parse::<usize>().ok()?),
        _ => None,
    });
    if let Some(place) = place {
        *place = new;
    }
}

/// A name for each axis: the tower of an encoder, or the last key, with those before it where two are the same.
pub(super) fn names(axes: Vec<&[String]>) -> Vec<String> {
    let name = |keys: &[String], length: usize| {
        let keys: Vec<&str> = match keys {
            [tower, name, encoder] if tower == "tower" && encoder.starts_with("encoder") => vec![name],
            keys => keys.iter().map(String::as_str).filter(|key| key.parse::<usize>().is_err()).collect(),
        };
        keys[keys.len().saturating_sub(length)..].join(".")
    };
    let with = |length: usize| axes.iter().map(|keys| name(keys, length)).collect::<Vec<_>>();
    let are_distinct = |names: &[String]| names.iter().enumerate().all(|(at, name)| !names[..at].contains(name));
    (1..=3)
        .map(with)
        .find(|names| are_distinct(names))
        .unwrap_or_else(|| axes.iter().map(|keys| keys.join(".")).collect())
}

/// A value as a table shows it.
pub(super) fn shown(value: &toml::Value) -> String {
    match value {
        toml::Value::String(text) => text.clone(),
        toml::Value::Array(list) => list.iter().map(shown).collect::<Vec<_>>().join("+"),
        toml::Value::Table(table) => {
            table.iter().map(|(key, value)| format!("{key} {}", shown(value))).collect::<Vec<_>>().join(" ")
        }
        value => value.to_string(),
    }
}
