//! `[tower.NAME]` of a recipe.

use serde::Deserialize;
use std::path::{Path, PathBuf};

use super::pair_file::CHOICES;
use super::subset::SUBSET;
use super::toml_file::{ConfigError, TomlFile, absolute, with_nearest_key};
use crate::dataset::may_hold_latents;
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

impl TowerTable {
    /// The source that its keys name, with paths relative to `folder`, or what is wrong with them.
    fn source(self, folder: &Path) -> Result<TowerSource, String> {
        let precomputed = self.precomputed.filter(|value| value.as_bool() != Some(false));
        let of_rows = [("tensor", self.tensor.is_some()), ("ids", self.ids.is_some()), ("id", self.id.is_some())];
        if let Some((key, _)) = of_rows.iter().find(|(_, is_set)| *is_set)
            && !precomputed.as_ref().is_some_and(toml::Value::is_str)
        {
            return Err(format!("`{key}` is for `precomputed = \"FILE\"`, a file of latents; remove it"));
        }
        match (self.encoder, self.encoders, precomputed) {
            (Some(encoder), None, None) => Ok(TowerSource::Encoders(vec![encoder])),
            (None, Some(encoders), None) if !encoders.is_empty() => Ok(TowerSource::Encoders(encoders)),
            (None, None, Some(toml::Value::Boolean(true))) => Ok(TowerSource::Precomputed),
            (None, None, Some(toml::Value::String(path))) if may_hold_latents(Path::new(&path)) => {
                let at = |path: String| short_path(&folder.join(path));
                let (ids, id) = (self.ids.map(at), self.id.unwrap_or_else(|| ID.to_owned()));
                Ok(TowerSource::Rows(LatentRows { file: at(path), tensor: self.tensor, ids, id }))
            }
            (None, None, Some(_)) => {
                Err("`precomputed` must be true, or a .safetensors, .npy or .parquet file in quotes".to_owned())
            }
            _ => Err("set one of `encoder`, `encoders` and `precomputed`".to_owned()),
        }
    }
}

impl TowerEntry {
    /// The names of its encoders; none if it is precomputed.
    pub fn encoders(&self) -> impl Iterator<Item = &str> {
        let names = if let TowerSource::Encoders(names) = &self.source { &names[..] } else { &[] };
        names.iter().map(String::as_str)
    }

    pub(super) fn parse(file: &TomlFile, name: String, table: toml::Value) -> Result<Self, ConfigError> {
        let wrong = |message: String| file.error_at(&["tower", &name], format!("tower `{name}`: {message}"));
        let reserved = PAIR_FILES.into_iter().chain(CHOICES).chain(SUBSET).chain([WEIGHT]);
        if reserved.into_iter().any(|key| key == name) {
            return Err(wrong("this name is reserved for a key of [[pairs]]; rename the tower".into()));
        }
        if let Some(several) = table.get("encoder").filter(|value| value.is_array()) {
            let message = format!(
                "`encoder` names one; several, whose latents are concatenated, go into `encoders`: encoders = {several}"
            );
            return Err(file.error_at(&["tower", &name, "encoder"], format!("tower `{name}`: {message}")));
        }
        let table: TowerTable =
            table.try_into().map_err(|error: toml::de::Error| wrong(with_nearest_key(error.message())))?;
        let (adapter, blocks) = (table.adapter.unwrap_or(AdapterKind::Mlp), table.blocks);
        let source = table.source(file.folder()).map_err(wrong)?;
        if let TowerSource::Encoders(encoders) = &source
            && let Some((_, twice)) = encoders.iter().enumerate().find(|(at, name)| encoders[..*at].contains(name))
        {
            return Err(wrong(format!("encoder `{twice}` is listed twice, which adds nothing; remove one")));
        }
        if !adapter.has_blocks() && blocks.is_some() {
            return Err(wrong(
                "only the adapters \"mlp\" and \"glu\" have `blocks`; remove `blocks` or `adapter`".into(),
            ));
        }
        Ok(Self { name, source, blocks, adapter })
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
