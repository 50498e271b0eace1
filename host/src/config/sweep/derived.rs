//! Encoders that a sweep sets up in other ways than plugins.toml has them.

use super::ENCODER;
use super::axes::shown;
use crate::config::toml_file::{ConfigError, TomlFile};

/// An encoder of plugins.toml with other values for some of its keys.
#[derive(Clone, Debug)]
pub struct DerivedEncoder {
    /// The sweep.
    pub file: TomlFile,
    /// The encoder in plugins.toml.
    pub base: String,
    /// Its own name, with the values.
    pub name: String,
    /// The values.
    pub changes: toml::Table,
}

/// The encoders that `[encoder.NAME]` of a recipe's document changes; towers that have them get the changed ones.
pub(super) fn derived(file: &TomlFile, document: &mut toml::Value) -> Result<Vec<DerivedEncoder>, ConfigError> {
    let Some(document) = document.as_table_mut() else { return Ok(Vec::new()) };
    let Some(changes) = document.remove(ENCODER) else { return Ok(Vec::new()) };
    let wrong = |name: &str| {
        let message = format!("`encoder.{name}` of a sweep must be a table with keys of that encoder");
        file.error_at(&[ENCODER, name], message)
    };
    let toml::Value::Table(changes) = changes else { return Err(wrong("NAME")) };
    let mut all = Vec::new();
    for (base, changes) in changes {
        let toml::Value::Table(changes) = changes else { return Err(wrong(&base)) };
        let values = changes.iter().map(|(key, value)| format!("{key}={}", shown(value)));
        let name = [base.clone()].into_iter().chain(values).collect::<Vec<_>>().join(" ");
        let mut is_used = false;
        let towers = document.get_mut("tower").and_then(toml::Value::as_table_mut);
        for (_, tower) in towers.into_iter().flatten() {
            let Some(tower) = tower.as_table_mut() else { continue };
            for (_, value) in tower.iter_mut().filter(|(key, _)| key.starts_with(ENCODER)) {
                let places = match value {
                    toml::Value::Array(list) => list.iter_mut().collect(),
                    value => vec![value],
                };
                for place in places.into_iter().filter(|place| place.as_str() == Some(&base)) {
                    *place = name.clone().into();
                    is_used = true;
                }
            }
        }
        if is_used && !changes.is_empty() {
            all.push(DerivedEncoder { file: file.clone(), base, name, changes });
        }
    }
    Ok(all)
}
