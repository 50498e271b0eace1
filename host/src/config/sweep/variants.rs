//! `[[variant]]` of a sweep: named changes to its recipe.

use super::{BASELINE, ON, SEEDS};
use crate::config::toml_file::{ConfigError, TomlFile};

/// The name of the list.
pub(super) const VARIANT: &str = "variant";
const NAME: &str = "name";

/// `[[variant]]`: changes to the recipe, with a name; without any, the recipe as it is.
pub(super) fn variants(
    file: &TomlFile,
    value: Option<toml::Value>,
) -> Result<Vec<(Option<String>, toml::Table)>, ConfigError> {
    let Some(value) = value else { return Ok(vec![(None, toml::Table::new())]) };
    let wrong = |at: usize, message: &str| file.error_at(&[VARIANT, &at.to_string()], message);
    let toml::Value::Array(list) = value else {
        return Err(wrong(0, "a sweep may have several variants: write [[variant]], with two brackets"));
    };
    let mut variants: Vec<(Option<String>, toml::Table)> = Vec::new();
    for (at, value) in list.into_iter().enumerate() {
        let toml::Value::Table(mut table) = value else { return Err(wrong(at, "[[variant]] must be a table")) };
        let name = table.remove(NAME).and_then(|name| Some(name.as_str()?.trim().to_owned()));
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Err(wrong(at, "[[variant]] needs a `name`, in quotes"));
        };
        if let Some(key) = [SEEDS, BASELINE, ON].into_iter().find(|key| table.contains_key(*key)) {
            let message = format!("`{key}` is for all variants: write it at the top of the sweep");
            return Err(file.error_at(&[VARIANT, &at.to_string(), key], message));
        }
        if variants.iter().any(|(known, _)| known.as_ref() == Some(&name)) {
            return Err(wrong(at, &format!("two variants are called `{name}`; give each its own name")));
        }
        variants.push((Some(name), table));
    }
    Ok(variants)
}

/// Puts the values of `changes` in the place of those in `whole`; tables are merged.
pub(super) fn merge(whole: &mut toml::Value, changes: toml::Value) {
    match (whole, changes) {
        (toml::Value::Table(whole), toml::Value::Table(changes)) => {
            for (key, change) in changes {
                match whole.get_mut(&key) {
                    Some(value) => merge(value, change),
                    None => drop(whole.insert(key, change)),
                }
            }
        }
        // `pairs = [{ ... }]` of a variant changes the pair sets of the recipe one by one.
        (toml::Value::Array(whole), toml::Value::Array(changes))
            if whole.iter().chain(&changes).all(toml::Value::is_table) =>
        {
            for (at, change) in changes.into_iter().enumerate() {
                match whole.get_mut(at) {
                    Some(value) => merge(value, change),
                    None => whole.push(change),
                }
            }
        }
        (whole, change) => *whole = change,
    }
}
