//! The options of an encoder in plugins.toml: their declaration and their values.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::Error;

/// One key that an encoder accepts in its table of plugins.toml. The host checks keys and kinds before it opens the
/// encoder, and suggests the nearest key for an unknown one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OptionSpec {
    /// The key.
    pub key: String,
    /// The kind of its value.
    pub kind: OptionKind,
    /// One line of help.
    #[serde(default)]
    pub help: String,
    /// True if the key is required.
    #[serde(default)]
    pub required: bool,
    /// The valid values of a text option, if it has a fixed set.
    #[serde(default)]
    pub choices: Vec<String>,
    /// True if its value is a secret, which the host writes nowhere. Better is the name of an environment variable.
    #[serde(default)]
    pub secret: bool,
}

/// The kind of an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OptionKind {
    /// A string.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// `true` or `false`.
    Boolean,
    /// An array, a table, or anything else that the encoder checks itself.
    #[serde(other)]
    Any,
}

impl OptionSpec {
    /// An optional key.
    pub fn new(key: &str, kind: OptionKind, help: &str) -> Self {
        Self { key: key.into(), kind, help: help.into(), required: false, choices: Vec::new(), secret: false }
    }

    /// Makes the key required.
    pub fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// Sets [`OptionSpec::secret`].
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// Allows only these values.
    pub fn choices(mut self, choices: &[&str]) -> Self {
        self.choices = choices.iter().map(|&choice| choice.into()).collect();
        self
    }
}

/// An encoder's table of plugins.toml, without the keys that belong to the host.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Options {
    #[serde(default)]
    values: BTreeMap<String, Value>,
    #[serde(default)]
    folder: PathBuf,
}

impl Options {
    /// The options of a table in plugins.toml, whose folder is `folder`: relative paths start from it.
    pub fn new(values: BTreeMap<String, Value>, folder: impl Into<PathBuf>) -> Self {
        Self { values, folder: folder.into() }
    }

    /// Adds a value; for tests: `Options::default().with("model", "folder")`.
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.values.insert(key.into(), value.into());
        self
    }

    /// The value of `key` as a `T`, if it is set.
    pub fn get<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, Error> {
        let Some(value) = self.values.get(key) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| {
            let error = error.to_string();
            let error = ["usize", "u64", "u32"].iter().fold(error, |error, rust| {
                error.replace(&format!("expected {rust}"), "expected a whole number, 0 or more")
            });
            Error::config(format!("`{key} = {value}`: {error}; change it in plugins.toml")).key(key)
        })
    }

    /// The value of `key`, or `default`.
    pub fn get_or<T: serde::de::DeserializeOwned>(&self, key: &str, default: T) -> Result<T, Error> {
        Ok(self.get(key)?.unwrap_or(default))
    }

    /// The value of a required key.
    pub fn need<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<T, Error> {
        self.get(key)?
            .ok_or_else(|| Error::config(format!("`{key}` is missing; add it to the encoder in plugins.toml")).key(key))
    }

    /// `path` as the user means it: relative paths are relative to the folder of plugins.toml.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }
}
