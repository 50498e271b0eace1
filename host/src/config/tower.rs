//! `[tower.NAME]` of a recipe.

use serde::Deserialize;

use super::toml_file::{ConfigError, TomlFile, with_nearest_key};
use crate::nn::AdapterKind;

/// The keys of `[[pairs]]` that are no towers.
pub(super) const PAIR_FILES: [&str; 3] = ["train", "validation", "test"];
pub(super) const WEIGHT: &str = "weight";

/// One `[tower.NAME]`.
#[derive(Clone, Debug)]
pub struct TowerEntry {
    /// NAME.
    pub name: String,
    /// The source of its latents.
    pub source: TowerSource,
    /// `blocks = N`: the number of blocks of its adapter, overriding `[train]`.
    pub blocks: Option<usize>,
    /// `adapter`: with "identity", the tower's own space is the shared space.
    pub adapter: AdapterKind,
}

/// The source of a tower's latents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TowerSource {
    /// At least one encoder of plugins.toml; their latents are concatenated in this order.
    Encoders(Vec<String>),
    /// `precomputed = true`: the pair files hold the latents.
    Precomputed,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TowerTable {
    encoder: Option<String>,
    encoders: Option<Vec<String>>,
    #[serde(default)]
    precomputed: bool,
    adapter: Option<AdapterKind>,
    blocks: Option<usize>,
}

impl TowerEntry {
    pub(super) fn parse(file: &TomlFile, name: String, table: toml::Value) -> Result<Self, ConfigError> {
        let wrong = |message: String| file.error_at(&["tower", &name], format!("tower `{name}`: {message}"));
        if PAIR_FILES.contains(&name.as_str()) || name == WEIGHT {
            return Err(wrong("this name is reserved for a key of [[pairs]]; rename the tower".into()));
        }
        let table: TowerTable =
            table.try_into().map_err(|error: toml::de::Error| wrong(with_nearest_key(error.message())))?;
        let source = match (table.encoder, table.encoders, table.precomputed) {
            (Some(encoder), None, false) => TowerSource::Encoders(vec![encoder]),
            (None, Some(encoders), false) if !encoders.is_empty() => TowerSource::Encoders(encoders),
            (None, None, true) => TowerSource::Precomputed,
            _ => return Err(wrong("set one of `encoder`, `encoders` and `precomputed = true`".into())),
        };
        if let TowerSource::Encoders(encoders) = &source
            && let Some((_, twice)) = encoders.iter().enumerate().find(|(at, name)| encoders[..*at].contains(name))
        {
            return Err(wrong(format!("encoder `{twice}` is listed twice, which adds nothing; remove one")));
        }
        let adapter = table.adapter.unwrap_or(AdapterKind::Mlp);
        if !adapter.has_blocks() && table.blocks.is_some() {
            return Err(wrong(
                "only the adapters \"mlp\" and \"glu\" have `blocks`; remove `blocks` or `adapter`".into(),
            ));
        }
        Ok(Self { name, source, blocks: table.blocks, adapter })
    }

    /// It as TOML.
    pub(super) fn to_toml(&self) -> toml::Table {
        let mut table = toml::Table::new();
        match &self.source {
            TowerSource::Encoders(encoders) => table.insert("encoders".into(), encoders.clone().into()),
            TowerSource::Precomputed => table.insert("precomputed".into(), true.into()),
        };
        match self.adapter {
            AdapterKind::Mlp => {}
            AdapterKind::Glu => drop(table.insert("adapter".into(), "glu".into())),
            AdapterKind::Linear => drop(table.insert("adapter".into(), "linear".into())),
            AdapterKind::Identity => drop(table.insert("adapter".into(), "identity".into())),
        }
        if let Some(blocks) = self.blocks {
            table.insert("blocks".into(), (blocks as i64).into());
        }
        table
    }
}
