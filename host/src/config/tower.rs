//! `[tower.NAME]` of a recipe.

use serde::Deserialize;
use std::path::{Path, PathBuf};

use super::toml_file::{ConfigError, TomlFile, absolute, with_nearest_key};
use crate::dataset::holds_latents;
use crate::nn::AdapterKind;
use crate::wording::short_path;

/// The keys of `[[pairs]]` that are no towers.
pub(super) const PAIR_FILES: [&str; 3] = ["train", "validation", "test"];
pub(super) const WEIGHT: &str = "weight";

/// The usual name of a column of ids.
const ID: &str = "id";

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
    /// `precomputed = "FILE"`: the pair files name rows of a file of latents.
    Rows(LatentRows),
}

/// A file of latents whose rows have names.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LatentRows {
    /// The file.
    pub file: PathBuf,
    /// `tensor`: the tensor with the latents, if there are several.
    pub tensor: Option<String>,
    /// `ids`: a table whose row i names row i of the latents; without it they go by their numbers, from 0.
    pub ids: Option<PathBuf>,
    /// `id`: the column of `ids`.
    pub id: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TowerTable {
    encoder: Option<String>,
    encoders: Option<Vec<String>>,
    precomputed: Option<toml::Value>,
    tensor: Option<String>,
    ids: Option<String>,
    id: Option<String>,
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
        let precomputed = table.precomputed.filter(|value| value.as_bool() != Some(false));
        if precomputed.as_ref().is_none_or(|value| !value.is_str())
            && let Some((key, _)) = [("tensor", &table.tensor), ("ids", &table.ids), ("id", &table.id)]
                .iter()
                .find(|(_, set)| set.is_some())
        {
            return Err(wrong(format!("`{key}` is for `precomputed = \"FILE\"`, a file of latents; remove it")));
        }
        let source = match (table.encoder, table.encoders, precomputed) {
            (Some(encoder), None, None) => TowerSource::Encoders(vec![encoder]),
            (None, Some(encoders), None) if !encoders.is_empty() => TowerSource::Encoders(encoders),
            (None, None, Some(toml::Value::Boolean(true))) => TowerSource::Precomputed,
            (None, None, Some(toml::Value::String(path))) if holds_latents(Path::new(&path)) => {
                let at = |path: String| short_path(&file.folder().join(path));
                let (tensor, id) = (table.tensor, table.id.unwrap_or_else(|| ID.to_owned()));
                TowerSource::Rows(LatentRows { file: at(path), tensor, ids: table.ids.map(at), id })
            }
            (None, None, Some(_)) => {
                return Err(wrong("`precomputed` must be true, or a .safetensors or .npy file in quotes".into()));
            }
            _ => return Err(wrong("set one of `encoder`, `encoders` and `precomputed`".into())),
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
            TowerSource::Rows(rows) => {
                table.extend(rows.tensor.iter().map(|tensor| ("tensor".to_owned(), tensor.clone().into())));
                table.extend(rows.ids.iter().map(|ids| ("ids".to_owned(), absolute(ids))));
                table.extend((rows.id != ID).then(|| ("id".to_owned(), rows.id.clone().into())));
                table.insert("precomputed".into(), absolute(&rows.file))
            }
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
