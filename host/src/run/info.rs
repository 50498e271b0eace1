//! `run.json`: the provenance of a finished run.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::error::RunError;
use crate::config::Method;
use crate::plugin::LoadedEncoder;
use crate::space::Inlet;

/// The content of `run.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunInfo {
    /// The version of this program.
    pub fusemix: String,
    /// The method that fitted it.
    #[serde(default)]
    pub method: Method,
    /// The seed.
    pub seed: u64,
    /// The device it was trained on.
    pub device: String,
    /// Pairs that it was trained on.
    pub pairs: usize,
    /// One per tower, in the recipe's order.
    pub towers: Vec<TowerInfo>,
    /// The digest of the adapters; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adapters: Option<String>,
    /// Training items that a tower compares with at most, if the run was made smaller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub anchors: Option<usize>,
    /// The digest of what was trained on; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen: Option<String>,
}

impl RunInfo {
    /// A plugins.toml with the encoders of the run.
    pub fn plugins_toml(&self) -> String {
        let encoders = || self.towers.iter().flat_map(|tower| &tower.encoders);
        let mut plugins = BTreeMap::new();
        let mut tables = BTreeMap::new();
        for EncoderInfo { name, version, entry, .. } in encoders() {
            if let Some(plugin) = entry.get("plugin").and_then(toml::Value::as_str) {
                plugins.insert(plugin, version.as_deref());
            }
            tables.insert(name, entry);
        }
        let quoted = |text: &str| toml::Value::from(text).to_string();
        let mut text = "# The plugins and encoders of a run. Relative paths start from this file's folder, and are as \
                        they were where it was made.\n\n# plugin_folder = \"plugins\"          # where plugins are \
                        looked for before the program's own folder\n"
            .to_owned();
        for (plugin, version) in plugins {
            text += &format!("\n[[plugin]]\nname = {}\n", quoted(plugin));
            text += &version.map_or(String::new(), |version| format!("version = {}\n", quoted(version)));
        }
        for (name, entry) in tables {
            let table = toml::Table::from_iter([(name.clone(), entry.clone().into())]);
            let document = toml::Table::from_iter([("encoder".to_owned(), table.into())]);
            text += &format!("\n{document}");
        }
        text
    }
}

/// The provenance of a tower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TowerInfo {
    /// Its name in the recipe.
    pub name: String,
    /// Width of its latents.
    pub width: usize,
    /// Its encoders; none if its latents were precomputed.
    pub encoders: Vec<EncoderInfo>,
    /// The identity of the file that its latents are rows of, if it is such a tower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rows: Option<String>,
}

impl TowerInfo {
    /// What its latents depend on: its width, and the names and fingerprints of its encoders.
    pub(crate) fn identity(&self) -> impl Serialize + '_ {
        let encoders: Vec<_> = self.encoders.iter().map(|encoder| (&encoder.name, &encoder.fingerprint)).collect();
        (&self.name, self.width, encoders)
    }

    /// What the tower takes.
    pub(crate) fn inlet(&self) -> Inlet {
        Inlet { name: self.name.clone(), width: self.width }
    }
}

/// An encoder as it was while training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EncoderInfo {
    /// Its name in plugins.toml.
    pub name: String,
    /// Its fingerprint.
    pub fingerprint: BTreeMap<String, String>,
    /// The version of its plugin; none in runs of older versions.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Its table of plugins.toml with its model pinned, without secrets; empty in runs of older versions.
    #[serde(default, skip_serializing_if = "toml::Table::is_empty")]
    pub entry: toml::Table,
    /// The encoder of plugins.toml that a sweep set up in another way; none if it stands there itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub derived: Option<DerivedFrom>,
}

/// The encoder of plugins.toml that another one differs from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DerivedFrom {
    /// Its name.
    pub encoder: String,
    /// The values that the other one has instead.
    pub changes: toml::Table,
}

impl EncoderInfo {
    /// An encoder as it is now.
    pub fn of(encoder: &LoadedEncoder) -> Self {
        Self {
            name: encoder.name.clone(),
            fingerprint: encoder.fingerprint.clone(),
            version: Some(encoder.version().to_owned()),
            entry: encoder.entry.clone(),
            derived: encoder
                .derived()
                .map(|(encoder, changes)| DerivedFrom { encoder: encoder.to_owned(), changes: changes.clone() }),
        }
    }

    /// Rejects an encoder other than the one of the run.
    pub fn verify(&self, present: &LoadedEncoder) -> Result<(), RunError> {
        if self.fingerprint == present.fingerprint {
            return Ok(());
        }
        Err(RunError::OtherEncoder {
            encoder: self.name.clone(),
            trained: self.fingerprint.clone(),
            present: present.fingerprint.clone(),
        })
    }
}
