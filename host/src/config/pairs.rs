//! `[[pairs]]` of a recipe, and `[[unpaired]]`: items of a tower that belong to no pair.

use super::pair_file::{self, CHOICES};
use super::subset::{Chosen, SUBSET, Subset, best_to_toml};
use super::toml_file::{ConfigError, TomlFile, shortest};
use super::tower::{PAIR_FILES, TowerEntry, TowerSource, WEIGHT};
use crate::dataset::{Dataset, Source, holds_latents, together};
use crate::wording::suggest;

const TRAIN: &str = "train";
/// The name of the table of pairs.
pub(super) const PAIRS: &str = "pairs";
/// The name of the table of items without a pair.
pub(super) const UNPAIRED: &str = "unpaired";

/// One `[[pairs]]`.
#[derive(Clone, Debug)]
pub struct PairsEntry {
    /// The file to train on.
    pub train: Source,
    /// The file that training is validated on.
    pub validation: Option<Source>,
    /// The file that only `fusemix eval` uses.
    pub test: Option<Source>,
    /// The two towers, in the order of [`Recipe::towers`](super::Recipe::towers).
    pub ends: [PairEnd; 2],
    /// The number of passes over the pairs in an epoch.
    pub weight: f32,
    /// The part of the training pairs that is taken; all if there is none.
    pub subset: Option<Subset>,
}

/// One side of a pair set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairEnd {
    /// Index in [`Recipe::towers`](super::Recipe::towers).
    pub tower: usize,
    /// The column (or tensor) that holds its items; the name of several together.
    pub column: String,
    /// The columns of the file: that one, or several, of which each holds a caption of the same item.
    pub columns: Vec<String>,
}

/// One `[[unpaired]]`.
#[derive(Clone, Debug)]
pub struct UnpairedEntry {
    /// The file with the items.
    pub train: Source,
    /// Their tower, and their column.
    pub end: PairEnd,
}

impl PairEnd {
    /// The key of its tower, with its column.
    fn to_toml(&self, towers: &[TowerEntry]) -> (String, toml::Value) {
        let columns = match &self.columns[..] {
            [one] => one.clone().into(),
            several => several.to_vec().into(),
        };
        (towers[self.tower].name.clone(), columns)
    }

    /// The end that the value of a tower's key names, or what is wrong with it.
    fn parse(tower: usize, key: &str, of: &str, value: &toml::Value) -> Result<Self, String> {
        let column = |value: &toml::Value| value.as_str().map(str::to_owned);
        let columns = match value {
            toml::Value::Array(list) if !list.is_empty() => list.iter().map(column).collect::<Option<Vec<_>>>(),
            value => column(value).map(|column| vec![column]),
        };
        let wrong = || format!("`{key}` of [[{of}]] must be text, in quotes: a column, or a list of columns");
        let columns = columns.ok_or_else(wrong)?;
        if let Some((_, twice)) = columns.iter().enumerate().find(|(at, name)| columns[..*at].contains(name)) {
            return Err(format!("`{key}` of [[{of}]] lists column `{twice}` twice; remove one"));
        }
        Ok(Self { tower, column: together(&columns), columns })
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
        let mut ends = Vec::new();
        let mut weight = 1.0;
        let mut common = Source::default();
        for (key, value) in table {
            if key == WEIGHT {
                let number = value.as_float().or(value.as_integer().map(|number| number as f64));
                weight = number.filter(|weight| *weight > 0.0 && *weight <= 100.0).ok_or_else(|| {
                    let message = format!("`weight = {value}` of [[pairs]] must be a number above 0 and at most 100");
                    at(key, message)
                })? as f32;
            } else if CHOICES.contains(&key.as_str()) {
                pair_file::choose(&mut common, key, value, file.folder())
                    .map_err(|reason| at(key, format!("{reason} (in [[pairs]])")))?;
            } else if let Some(tower) = towers.iter().position(|tower| tower.name == *key) {
                ends.push(PairEnd::parse(tower, key, PAIRS, value).map_err(|message| at(key, message))?);
            } else if !PAIR_FILES.contains(&key.as_str()) && !SUBSET.contains(&key.as_str()) {
                let of_files = PAIR_FILES.into_iter().chain(CHOICES).chain(SUBSET).chain([WEIGHT]);
                let known = of_files.chain(towers.iter().map(|tower| tower.name.as_str()));
                return Err(at(key, format!("unknown key `{key}` of [[pairs]]{}", suggest(key, known))));
            }
        }
        if let Some((key, reason)) = pair_file::contradiction(&common, table) {
            return Err(at(key, reason));
        }
        ends.sort_by_key(|end| end.tower);
        let mut files = [None, None, None];
        for (name, source) in PAIR_FILES.into_iter().zip(&mut files) {
            if let Some(value) = table.get(name) {
                let parsed = pair_file::parse(name, value, &common, file.folder());
                *source = Some(parsed.map_err(|wrong| error_in(file, [PAIRS, &index, name], wrong))?);
            }
        }
        let [train, validation, test] = files;
        let train = train.ok_or_else(|| at("", "[[pairs]] needs a `train` file".into()))?;
        let ends = <[PairEnd; 2]>::try_from(ends).map_err(|ends| at("", not_two(towers, &ends, &train)))?;
        let columns = |source: Source| source.with_columns(ends.iter().map(|end| end.columns.clone()).collect());
        let (train, validation, test) = (columns(train), validation.map(columns), test.map(columns));
        let given = PAIR_FILES.into_iter().zip([Some(&train), validation.as_ref(), test.as_ref()]);
        for (key, source) in given.filter_map(|(key, source)| Some((key, source?))) {
            let is_used = |name: &String| {
                let own = ["split", "key"].contains(&name.as_str())
                    || table.get("quality_by").and_then(toml::Value::as_str) == Some(name);
                own || ends.iter().any(|end| end.columns.contains(name))
            };
            if let Some((name, _)) = source.renamed.iter().find(|(name, _)| !is_used(name)) {
                let known = ends.iter().flat_map(|end| &end.columns).map(String::as_str);
                let suggestion = suggest(name, known);
                return Err(at(
                    key,
                    format!("`columns` names `{name}`, which no tower of this [[pairs]] takes{suggestion}"),
                ));
            }
            for end in &ends {
                check_kind(&towers[end.tower], source).map_err(|message| at(key, message))?;
                check_columns(end, source).map_err(|message| at(&towers[end.tower].name, message))?;
            }
        }
        let towers_of = ends.each_ref().map(|end| end.tower);
        let chosen = Chosen::parse(table, towers, towers_of, file.folder());
        let Chosen { subset, best } = chosen.map_err(|(key, reason)| at(key, reason))?;
        if best.is_some() && holds_latents(&train.path) {
            let path = train.path.display();
            return Err(at("quality_by", format!("{path} is a file of latents, which has no columns of scores")));
        }
        Ok(Self { train: Source { best, ..train }, validation, test, ends, weight, subset })
    }

    /// It as TOML, with absolute paths.
    pub(super) fn to_toml(&self, towers: &[TowerEntry]) -> toml::Table {
        let files = [Some(&self.train), self.validation.as_ref(), self.test.as_ref()];
        let files = PAIR_FILES
            .into_iter()
            .zip(files)
            .filter_map(|(key, file)| Some((key.to_owned(), pair_file::to_toml(file?))));
        let mut table = toml::Table::from_iter(files);
        if self.weight != 1.0 {
            table.insert(WEIGHT.into(), shortest(self.weight).into());
        }
        table.extend(self.ends.iter().map(|end| end.to_toml(towers)));
        table.extend(self.subset.iter().flat_map(|subset| subset.to_toml(towers)));
        table.extend(self.train.best.iter().flat_map(best_to_toml));
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
        let (mut common, mut ends) = (Source::default(), Vec::new());
        for (key, value) in table {
            match towers.iter().position(|tower| tower.name == *key) {
                _ if key == TRAIN => {}
                _ if CHOICES.contains(&key.as_str()) => pair_file::choose(&mut common, key, value, file.folder())
                    .map_err(|reason| at(key, format!("{reason} (in [[unpaired]])")))?,
                Some(tower) => {
                    ends.push(PairEnd::parse(tower, key, UNPAIRED, value).map_err(|message| at(key, message))?);
                }
                None => {
                    let known =
                        [TRAIN].into_iter().chain(CHOICES).chain(towers.iter().map(|tower| tower.name.as_str()));
                    return Err(at(key, format!("unknown key `{key}` of [[unpaired]]{}", suggest(key, known))));
                }
            }
        }
        if let Some((key, reason)) = pair_file::contradiction(&common, table) {
            return Err(at(key, reason));
        }
        let train = table.get(TRAIN).ok_or_else(|| at("", "[[unpaired]] needs a `train` file".into()))?;
        let train = pair_file::parse(TRAIN, train, &common, file.folder())
            .map_err(|wrong| error_in(file, [UNPAIRED, &index, TRAIN], wrong))?;
        let [end] = <[PairEnd; 1]>::try_from(ends).map_err(|ends| {
            let message = format!("[[unpaired]] has items of one tower, but this one names {}", ends.len());
            at("", format!("{message}; write one [[unpaired]] for each"))
        })?;
        let train = train.with_columns(vec![end.columns.clone()]);
        check_kind(&towers[end.tower], &train).map_err(|message| at(TRAIN, message))?;
        check_columns(&end, &train).map_err(|message| at(&towers[end.tower].name, message))?;
        Ok(Self { train, end })
    }

    /// It as TOML, with an absolute path.
    pub(super) fn to_toml(&self, towers: &[TowerEntry]) -> toml::Table {
        toml::Table::from_iter([(TRAIN.to_owned(), pair_file::to_toml(&self.train)), self.end.to_toml(towers)])
    }
}

/// An error of a file at `keys`: in its table, or at a key beside it.
fn error_in(file: &TomlFile, keys: [&str; 3], (key, message): (Option<String>, String)) -> ConfigError {
    let [list, index, name] = keys;
    let Some(key) = key else { return file.error_at(&keys, message) };
    match file.has(&[list, index, name, &key]) {
        true => file.error_at(&[list, index, name, &key], message),
        false => file.error_at(&[list, index, &key], message),
    }
}

/// What to do about a pair set that does not join two towers.
fn not_two(towers: &[TowerEntry], ends: &[PairEnd], train: &Source) -> String {
    let names = |of: &mut dyn Iterator<Item = usize>| {
        of.map(|tower| format!("`{}`", towers[tower].name)).collect::<Vec<_>>().join(", ")
    };
    let has = names(&mut ends.iter().map(|end| end.tower));
    if ends.len() > 2 {
        return format!("[[pairs]] joins two towers, but this one has columns for {has}; write one for each two");
    }
    let mut others = (0..towers.len()).filter(|tower| !ends.iter().any(|end| end.tower == *tower));
    let columns = match train.open() {
        Ok(Dataset::Table(table)) => format!("; {} has: {}", train.path.display(), table.names().join(", ")),
        _ => String::new(),
    };
    let has = if has.is_empty() { "none".to_owned() } else { format!("only {has}") };
    let missing = names(&mut others);
    format!("[[pairs]] needs the columns of two towers, and has {has}: add one for {missing}{columns}")
}

/// Checks that a file holds what a tower takes.
fn check_kind(tower: &TowerEntry, file: &Source) -> Result<(), String> {
    let name = &tower.name;
    let tables = "its pair files must be tables, such as .csv, .jsonl, .parquet or .tar";
    match (&tower.source, holds_latents(&file.path)) {
        (TowerSource::Precomputed, false) => {
            Err(format!("tower `{name}` is precomputed: its pair files must be .safetensors or .npy"))
        }
        (TowerSource::Encoders(_), true) => Err(format!("tower `{name}` has encoders: {tables}")),
        (TowerSource::Rows(_), true) => Err(format!("tower `{name}` names rows of its own file: {tables}")),
        _ => Ok(()),
    }
}

/// Checks that an end of several columns is one of a table.
fn check_columns(end: &PairEnd, file: &Source) -> Result<(), String> {
    match end.columns.len() > 1 && holds_latents(&file.path) {
        true => {
            Err(format!("several columns are of tables, and {} is a file of latents; name one", file.path.display()))
        }
        false => Ok(()),
    }
}
