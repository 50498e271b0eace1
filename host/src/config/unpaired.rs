//! `[[unpaired]]` of a recipe: items of a tower that belong to no pair.

use std::path::PathBuf;

use super::recipe::{PairEnd, TowerEntry, TowerSource};
use super::toml_file::{ConfigError, TomlFile};
use crate::wording::suggest;

/// The table's name.
pub(super) const UNPAIRED: &str = "unpaired";
const TRAIN: &str = "train";

/// One `[[unpaired]]`.
#[derive(Clone, Debug)]
pub struct UnpairedEntry {
    /// The file with the items.
    pub train: PathBuf,
    /// Their tower, and their column.
    pub end: PairEnd,
}

impl UnpairedEntry {
    pub(super) fn parse(
        file: &TomlFile,
        towers: &[TowerEntry],
        index: usize,
        table: &toml::Table,
    ) -> Result<Self, ConfigError> {
        let index = index.to_string();
        let at = |key: &str, message: String| file.error_at(&[UNPAIRED, &index, key], message);
        let (mut train, mut ends) = (None, Vec::new());
        for (key, value) in table {
            let text = value.as_str();
            let text = text.ok_or_else(|| at(key, format!("`{key}` of [[unpaired]] must be text, in quotes")))?;
            match towers.iter().position(|tower| tower.name == *key) {
                _ if key == TRAIN => train = Some(file.folder().join(text)),
                Some(tower) => ends.push(PairEnd { tower, column: text.to_owned() }),
                None => {
                    let known = [TRAIN].into_iter().chain(towers.iter().map(|tower| tower.name.as_str()));
                    return Err(at(key, format!("unknown key `{key}` of [[unpaired]]{}", suggest(key, known))));
                }
            }
        }
        let train = train.ok_or_else(|| at("", "[[unpaired]] needs a `train` file".into()))?;
        let [end] = <[PairEnd; 1]>::try_from(ends).map_err(|ends| {
            let message = format!("[[unpaired]] has items of one tower, but this one names {}", ends.len());
            at("", format!("{message}; write one [[unpaired]] for each"))
        })?;
        let tower = &towers[end.tower];
        let holds_tensors = train.extension().is_some_and(|extension| extension == "safetensors");
        if holds_tensors != (tower.source == TowerSource::Precomputed) {
            let must = if holds_tensors {
                "has encoders: its files must be .tsv or .csv"
            } else {
                "is precomputed: its files must be .safetensors"
            };
            return Err(at(TRAIN, format!("tower `{}` {must}", tower.name)));
        }
        Ok(Self { train, end })
    }
}
