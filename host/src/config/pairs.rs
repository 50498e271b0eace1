//! `[[pairs]]` of a recipe, and `[[unpaired]]`: items of a tower that belong to no pair.

use std::path::{Path, PathBuf};

use super::toml_file::{ConfigError, TomlFile, absolute, shortest};
use super::tower::{PAIR_FILES, TowerEntry, TowerSource, WEIGHT};
use crate::dataset::{Dataset, holds_latents};
use crate::wording::{short_path, suggest};

const TRAIN: &str = "train";
/// The name of the table of pairs.
pub(super) const PAIRS: &str = "pairs";
/// The name of the table of items without a pair.
pub(super) const UNPAIRED: &str = "unpaired";

/// One `[[pairs]]`.
#[derive(Clone, Debug)]
pub struct PairsEntry {
    /// The file to train on.
    pub train: PathBuf,
    /// The file that training is validated on.
    pub validation: Option<PathBuf>,
    /// The file that only `fusemix eval` uses.
    pub test: Option<PathBuf>,
    /// The two towers, in the order of [`Recipe::towers`](super::Recipe::towers).
    pub ends: [PairEnd; 2],
    /// The number of passes over the pairs in an epoch.
    pub weight: f32,
}

/// One side of a pair set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairEnd {
    /// Index in [`Recipe::towers`](super::Recipe::towers).
    pub tower: usize,
    /// The column (or tensor) that holds its items.
    pub column: String,
}

/// One `[[unpaired]]`.
#[derive(Clone, Debug)]
pub struct UnpairedEntry {
    /// The file with the items.
    pub train: PathBuf,
    /// Their tower, and their column.
    pub end: PairEnd,
}

impl PairEnd {
    /// The key of its tower, with its column.
    fn to_toml(&self, towers: &[TowerEntry]) -> (String, toml::Value) {
        (towers[self.tower].name.clone(), self.column.clone().into())
    }
}

impl PairsEntry {
    pub(super) fn parse(
        file: &TomlFile,
        towers: &[TowerEntry],
        index: usize,
        table: &toml::Table,
    ) -> Result<Self, ConfigError> {
        let index = index.to_string();
        let at = |key: &str, message: String| file.error_at(&["pairs", &index, key], message);
        let mut files = [None, None, None];
        let mut ends = Vec::new();
        let mut weight = 1.0;
        for (key, value) in table {
            if key == WEIGHT {
                let number = value.as_float().or(value.as_integer().map(|number| number as f64));
                weight = number.filter(|weight| *weight > 0.0 && *weight <= 100.0).ok_or_else(|| {
                    let message = format!("`weight = {value}` of [[pairs]] must be a number above 0 and at most 100");
                    at(key, message)
                })? as f32;
                continue;
            }
            let tower = towers.iter().position(|tower| tower.name == *key);
            let which = PAIR_FILES.iter().position(|name| name == key);
            if (which, tower) == (None, None) {
                let known =
                    PAIR_FILES.into_iter().chain([WEIGHT]).chain(towers.iter().map(|tower| tower.name.as_str()));
                return Err(at(key, format!("unknown key `{key}` of [[pairs]]{}", suggest(key, known))));
            }
            let text = value.as_str();
            let text = text.ok_or_else(|| at(key, format!("`{key}` of [[pairs]] must be text, in quotes")))?;
            if let Some(which) = which {
                files[which] = Some(short_path(&file.folder().join(text)));
            } else if let Some(tower) = tower {
                ends.push(PairEnd { tower, column: text.to_owned() });
            }
        }
        ends.sort_by_key(|end| end.tower);
        let [train, validation, test] = files;
        let train = train.ok_or_else(|| at("", "[[pairs]] needs a `train` file".into()))?;
        let ends = <[PairEnd; 2]>::try_from(ends).map_err(|ends| at("", not_two(towers, &ends, &train)))?;
        let given = PAIR_FILES.into_iter().zip([Some(&train), validation.as_ref(), test.as_ref()]);
        for (key, file) in given.filter_map(|(key, file)| Some((key, file?))) {
            for end in &ends {
                check_kind(&towers[end.tower], file).map_err(|message| at(key, message))?;
            }
        }
        Ok(Self { train, validation, test, ends, weight })
    }

    /// It as TOML, with absolute paths.
    pub(super) fn to_toml(&self, towers: &[TowerEntry]) -> toml::Table {
        let files = [Some(&self.train), self.validation.as_ref(), self.test.as_ref()];
        let files = PAIR_FILES.into_iter().zip(files).filter_map(|(key, file)| Some((key.to_owned(), absolute(file?))));
        let mut table = toml::Table::from_iter(files);
        if self.weight != 1.0 {
            table.insert(WEIGHT.into(), shortest(self.weight).into());
        }
        table.extend(self.ends.iter().map(|end| end.to_toml(towers)));
        table
    }
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
                _ if key == TRAIN => train = Some(short_path(&file.folder().join(text))),
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
        check_kind(&towers[end.tower], &train).map_err(|message| at(TRAIN, message))?;
        Ok(Self { train, end })
    }

    /// It as TOML, with an absolute path.
    pub(super) fn to_toml(&self, towers: &[TowerEntry]) -> toml::Table {
        toml::Table::from_iter([(TRAIN.to_owned(), absolute(&self.train)), self.end.to_toml(towers)])
    }
}

/// What to do about a pair set that does not join two towers.
fn not_two(towers: &[TowerEntry], ends: &[PairEnd], train: &Path) -> String {
    let names = |of: &mut dyn Iterator<Item = usize>| {
        of.map(|tower| format!("`{}`", towers[tower].name)).collect::<Vec<_>>().join(", ")
    };
    let has = names(&mut ends.iter().map(|end| end.tower));
    if ends.len() > 2 {
        return format!("[[pairs]] joins two towers, but this one has columns for {has}; write one for each two");
    }
    let mut others = (0..towers.len()).filter(|tower| !ends.iter().any(|end| end.tower == *tower));
    let columns = match Dataset::open(train) {
        Ok(Dataset::Table(table)) => format!("; {} has: {}", train.display(), table.names().join(", ")),
        _ => String::new(),
    };
    let has = if has.is_empty() { "none".to_owned() } else { format!("only {has}") };
    let missing = names(&mut others);
    format!("[[pairs]] needs the columns of two towers, and has {has}: add one for {missing}{columns}")
}

/// Checks that a file holds what a tower takes.
fn check_kind(tower: &TowerEntry, file: &Path) -> Result<(), String> {
    let name = &tower.name;
    match (&tower.source, holds_latents(file)) {
        (TowerSource::Precomputed, false) => {
            Err(format!("tower `{name}` is precomputed: its pair files must be .safetensors or .npy"))
        }
        (TowerSource::Encoders(_), true) => {
            Err(format!("tower `{name}` has encoders: its pair files must be .tsv or .csv"))
        }
        (TowerSource::Rows(_), true) => {
            Err(format!("tower `{name}` names rows of its own file: its pair files must be .tsv or .csv"))
        }
        _ => Ok(()),
    }
}
