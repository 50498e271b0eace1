//! fusion.toml: the towers of a fusion, the pairs that join them, and the training options.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::groups;
use super::method::{FIT, Method, TRAIN};
use super::toml_file::{ConfigError, TomlFile, in_words, with_nearest_key, with_nearest_of};
use super::unpaired::{UNPAIRED, UnpairedEntry};
use crate::nn::AdapterKind;
use crate::wording::suggest;

/// fusion.toml as read.
#[derive(Debug)]
pub struct Recipe {
    /// The file's path.
    pub file: TomlFile,
    /// `[tower.NAME]`, in file order; at least two.
    pub towers: Vec<TowerEntry>,
    /// `[[pairs]]`; at least one.
    pub pairs: Vec<PairsEntry>,
    /// `[[unpaired]]`.
    pub unpaired: Vec<UnpairedEntry>,
    /// `method` of `[fit]`.
    pub method: Method,
    /// The options of the method in `[fit]`.
    fit: toml::Table,
    /// The options of `[fit]` that all methods have.
    common: toml::Table,
}

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

/// One `[[pairs]]`.
#[derive(Clone, Debug)]
pub struct PairsEntry {
    /// The file to train on.
    pub train: PathBuf,
    /// The file that training is validated on.
    pub validation: Option<PathBuf>,
    /// The file that only `fusemix eval` uses.
    pub test: Option<PathBuf>,
    /// The two towers, in the order of [`Recipe::towers`].
    pub ends: [PairEnd; 2],
    /// The number of passes over the pairs in an epoch.
    pub weight: f32,
}

/// One side of a pair set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairEnd {
    /// Index in [`Recipe::towers`].
    pub tower: usize,
    /// The column (or tensor) that holds its items.
    pub column: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    tower: toml::map::Map<String, toml::Value>,
    pairs: Vec<toml::Table>,
    #[serde(default)]
    unpaired: Vec<toml::Table>,
    #[serde(default)]
    fit: toml::Table,
    /// The options of `method = "fusemix"`: see [`Recipe::options`].
    train: Option<toml::Table>,
}

/// The table of options alone, in a recipe with other tables.
#[derive(Deserialize)]
struct WithOptions<T> {
    train: Option<T>,
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

const PAIR_FILES: [&str; 3] = ["train", "validation", "test"];
const WEIGHT: &str = "weight";
const METHOD: &str = "method";
const PARTS: &str = "parts";
/// The keys of `[fit]` that all methods have.
const COMMON: [&str; 2] = ["hubness", "neighbours"];

impl Recipe {
    /// Reads `path` and checks everything that needs no data or encoders.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(TomlFile::read(path, "check the path of the recipe")?)
    }

    /// The recipe in a text.
    pub fn parse(file: TomlFile) -> Result<Self, ConfigError> {
        let document: Document = file.parse()?;
        let towers = document.tower.into_iter().map(|(name, table)| tower(&file, name, table));
        let towers: Vec<TowerEntry> = towers.collect::<Result<_, _>>()?;
        if towers.len() < 2 {
            return Err(file.error_at(&["tower"], "a fusion needs at least two towers: [tower.image], [tower.text]"));
        }
        let pairs = document.pairs.into_iter().enumerate();
        let pairs: Vec<PairsEntry> =
            pairs.map(|(index, table)| pairs_entry(&file, &towers, index, table)).collect::<Result<_, _>>()?;
        for (index, tower) in towers.iter().enumerate() {
            if !pairs.iter().any(|pairs| pairs.ends.iter().any(|end| end.tower == index)) {
                let message = format!(
                    "tower `{}` is not in any [[pairs]], so nothing would train it; add it to one, or remove it",
                    tower.name
                );
                return Err(file.error_at(&["tower", &tower.name], message));
            }
        }
        let joined: Vec<_> = pairs.iter().map(|pairs| pairs.ends.each_ref().map(|end| end.tower)).collect();
        let fixed = |tower: &TowerEntry| tower.adapter == AdapterKind::Identity;
        let of: Vec<(&str, bool)> = towers.iter().map(|tower| (tower.name.as_str(), fixed(tower))).collect();
        groups::check(&file, &of, &joined)?;
        let Document { mut fit, train, unpaired, .. } = document;
        let unpaired = unpaired.iter().enumerate();
        let unpaired: Vec<UnpairedEntry> = unpaired
            .map(|(index, table)| UnpairedEntry::parse(&file, &towers, index, table))
            .collect::<Result<_, _>>()?;
        let common = COMMON.into_iter().filter_map(|key| fit.remove_entry(key)).collect();
        // Options of a training ask for one.
        let of_training = |tower: &TowerEntry| {
            tower.blocks.is_some() || matches!(tower.adapter, AdapterKind::Linear | AdapterKind::Glu)
        };
        let default = match train.is_some() || !unpaired.is_empty() || towers.iter().any(of_training) {
            true => Method::Fusemix,
            false => Method::Auto,
        };
        let (method, fit) = method(&file, fit, default, train.is_some())?;
        if method != Method::Fusemix && !unpaired.is_empty() {
            let message =
                format!("[[unpaired]] is for `method = \"fusemix\"`, and `{}` takes pairs alone", method.name());
            return Err(file.error_at(&[UNPAIRED], message));
        }
        Ok(Self { towers, pairs, unpaired, method, fit, common, file })
    }

    /// The options of its method.
    pub fn options<T: DeserializeOwned + Default>(&self) -> Result<T, ConfigError> {
        if self.method == Method::Fusemix {
            return Ok(self.file.parse::<WithOptions<T>>()?.train.unwrap_or_default());
        }
        self.options_in(&self.fit)
    }

    /// The options of `[fit]` that all methods have.
    pub fn common_options<T: DeserializeOwned>(&self) -> Result<T, ConfigError> {
        self.options_in(&self.common)
    }

    fn options_in<T: DeserializeOwned>(&self, table: &toml::Table) -> Result<T, ConfigError> {
        let known: Vec<&str> = [METHOD].into_iter().chain(COMMON).collect();
        options(table, &known, |key, message| self.error_at_option(key, message))
    }

    /// The options in a table of `parts`.
    pub fn part_options<T: DeserializeOwned>(&self, part: usize, table: &toml::Table) -> Result<T, ConfigError> {
        options(table, &[METHOD, WEIGHT], |key, message| self.error_at_part(part, key, message))
    }

    /// An error at an option of its method.
    pub fn error_at_option(&self, key: &str, message: impl Into<String>) -> ConfigError {
        let table = if COMMON.contains(&key) || key == METHOD { FIT } else { self.method.table() };
        self.file.error_at(&[table, key], message)
    }

    /// An error at an option of a part of a joint fit.
    pub fn error_at_part(&self, part: usize, key: &str, message: impl Into<String>) -> ConfigError {
        self.file.error_at(&[FIT, PARTS, &part.to_string(), key], message)
    }

    /// The recipe as TOML with absolute paths, and a method with its resolved options, as a run folder keeps it;
    /// `common` are those that all methods have.
    pub fn to_toml(
        &self,
        method: Method,
        options: &impl Serialize,
        common: &impl Serialize,
    ) -> Result<String, toml::ser::Error> {
        let mut towers = toml::Table::new();
        for tower in &self.towers {
            let mut table = toml::Table::new();
            match &tower.source {
                TowerSource::Encoders(encoders) => table.insert("encoders".into(), encoders.clone().into()),
                TowerSource::Precomputed => table.insert("precomputed".into(), true.into()),
            };
            match tower.adapter {
                AdapterKind::Mlp => {}
                AdapterKind::Glu => drop(table.insert("adapter".into(), "glu".into())),
                AdapterKind::Linear => drop(table.insert("adapter".into(), "linear".into())),
                AdapterKind::Identity => drop(table.insert("adapter".into(), "identity".into())),
            }
            if let Some(blocks) = tower.blocks {
                table.insert("blocks".into(), (blocks as i64).into());
            }
            towers.insert(tower.name.clone(), table.into());
        }
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or(path.to_owned()).display().to_string();
        let mut pairs = Vec::new();
        for entry in &self.pairs {
            let mut table = toml::Table::new();
            let files = [Some(&entry.train), entry.validation.as_ref(), entry.test.as_ref()];
            for (key, file) in PAIR_FILES.into_iter().zip(files) {
                table.extend(file.map(|file| (key.to_owned(), absolute(file).into())));
            }
            if entry.weight != 1.0 {
                table.insert(WEIGHT.into(), shortest(entry.weight).into());
            }
            for end in &entry.ends {
                table.insert(self.towers[end.tower].name.clone(), end.column.clone().into());
            }
            pairs.push(table);
        }
        let mut document = toml::Table::new();
        document.insert("tower".into(), towers.into());
        document.insert("pairs".into(), pairs.into());
        let unpaired = self.unpaired.iter().map(|UnpairedEntry { train, end }| {
            let (train, tower) = (absolute(train), &self.towers[end.tower].name);
            toml::Table::from_iter([("train".to_owned(), train.into()), (tower.clone(), end.column.clone().into())])
        });
        if !self.unpaired.is_empty() {
            document.insert(UNPAIRED.into(), unpaired.collect::<Vec<_>>().into());
        }
        let mut fit = toml::Table::from_iter([(METHOD.to_owned(), method.name().into())]);
        fit.extend(table_of(common)?);
        match method {
            Method::Fusemix => drop(document.insert(TRAIN.into(), table_of(options)?.into())),
            _ => fit.extend(table_of(options)?),
        }
        document.insert(FIT.into(), fit.into());
        toml::to_string(&document)
    }
}

/// The options in a table that may have the keys `beside` too; an error of one is made by `wrong`.
fn options<T: DeserializeOwned>(
    table: &toml::Table,
    beside: &[&str],
    wrong: impl Fn(&str, String) -> ConfigError,
) -> Result<T, ConfigError> {
    let parsed = |table: toml::Table| T::deserialize(toml::Value::Table(table));
    // Of one key at a time, the error is that key's.
    for (key, value) in table {
        parsed(toml::Table::from_iter([(key.clone(), value.clone())]))
            .map_err(|error| wrong(key, in_words(&with_nearest_of(error.message(), beside))))?;
    }
    parsed(table.clone()).map_err(|error| wrong("", error.message().to_owned()))
}

/// The options of a resolved recipe, by name.
pub fn train_table(resolved: &str) -> BTreeMap<String, String> {
    let document: toml::Table = resolved.parse().unwrap_or_default();
    let train = document.get("train").and_then(toml::Value::as_table).cloned().unwrap_or_default();
    train.into_iter().map(|(key, value)| (key, value.to_string())).collect()
}

/// Options as a table, with the fewest digits that read back.
pub fn table_of(options: &impl Serialize) -> Result<toml::Table, toml::ser::Error> {
    let mut table = toml::Table::try_from(options)?;
    for (_, value) in &mut table {
        if let toml::Value::Float(number) = value {
            *number = shortest(*number as f32);
        }
    }
    Ok(table)
}

/// The f64 with the fewest digits that reads back as this f32.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().expect("a number reads back")
}

/// The method of `[fit]`, in a recipe that may have `[train]`.
fn method(
    file: &TomlFile,
    mut fit: toml::Table,
    default: Method,
    has_train: bool,
) -> Result<(Method, toml::Table), ConfigError> {
    let method = match fit.remove(METHOD) {
        None => default,
        Some(value) => Method::deserialize(value.clone()).map_err(|_| {
            let known = Method::ALL.map(Method::name);
            let suggestion = suggest(value.as_str().unwrap_or_default(), known);
            file.error_at(&[FIT, METHOD], format!("`method = {value}` of [fit] is unknown{suggestion}"))
        })?,
    };
    if method == Method::Fusemix
        && let Some(key) = fit.keys().next()
    {
        let message = format!("unknown key `{key}` of [fit]: the options of `method = \"fusemix\"` go into [train]");
        return Err(file.error_at(&[FIT, key], message));
    }
    if method == Method::Auto
        && let Some(key) = fit.keys().find(|key| *key != "budget")
    {
        let message = format!(
            "unknown key `{key}` of [fit], which chooses the method itself: name a `method` to give its options; \
             those of \"fusemix\" go into [train]"
        );
        return Err(file.error_at(&[FIT, key], message));
    }
    if has_train && method != Method::Fusemix {
        let message =
            format!("[train] has the options of `method = \"fusemix\"`; those of `{}` go into [fit]", method.name());
        return Err(file.error_at(&[TRAIN], message));
    }
    Ok((method, fit))
}

fn tower(file: &TomlFile, name: String, table: toml::Value) -> Result<TowerEntry, ConfigError> {
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
        return Err(wrong("only an MLP adapter has `blocks`; remove `blocks` or `adapter`".into()));
    }
    Ok(TowerEntry { name, source, blocks: table.blocks, adapter })
}

fn pairs_entry(
    file: &TomlFile,
    towers: &[TowerEntry],
    index: usize,
    table: toml::Table,
) -> Result<PairsEntry, ConfigError> {
    let index = index.to_string();
    let at = |key: &str, message: String| file.error_at(&["pairs", &index, key], message);
    let mut files = [None, None, None];
    let mut ends = Vec::new();
    let mut weight = 1.0;
    for (key, value) in &table {
        if key == WEIGHT {
            let number = value.as_float().or(value.as_integer().map(|number| number as f64));
            weight = number.filter(|weight| *weight > 0.0 && *weight <= 100.0).ok_or_else(|| {
                let message = format!("`weight = {value}` of [[pairs]] must be a number above 0 and at most 100");
                at(key, message)
            })? as f32;
            continue;
        }
        let Some(text) = value.as_str() else {
            return Err(at(key, format!("`{key}` of [[pairs]] must be text, in quotes")));
        };
        let tower = towers.iter().position(|tower| tower.name == *key);
        match (PAIR_FILES.iter().position(|name| name == key), tower) {
            (Some(which), _) => files[which] = Some(file.folder().join(text)),
            (None, Some(tower)) => ends.push(PairEnd { tower, column: text.to_owned() }),
            (None, None) => {
                let known =
                    PAIR_FILES.into_iter().chain([WEIGHT]).chain(towers.iter().map(|tower| tower.name.as_str()));
                return Err(at(key, format!("unknown key `{key}` of [[pairs]]{}", suggest(key, known))));
            }
        }
    }
    ends.sort_by_key(|end| end.tower);
    let [train, validation, test] = files;
    let train = train.ok_or_else(|| at("", "[[pairs]] needs a `train` file".into()))?;
    let ends = <[PairEnd; 2]>::try_from(ends)
        .map_err(|ends| at("", format!("[[pairs]] joins exactly two towers, but this one names {}", ends.len())))?;
    let given = PAIR_FILES.into_iter().zip([Some(&train), validation.as_ref(), test.as_ref()]);
    for (key, file) in given.filter_map(|(key, file)| Some((key, file?))) {
        let holds_tensors = file.extension().is_some_and(|extension| extension == "safetensors");
        for tower in ends.iter().map(|end| &towers[end.tower]) {
            let name = &tower.name;
            match (&tower.source, holds_tensors) {
                (TowerSource::Precomputed, false) => {
                    return Err(at(key, format!("tower `{name}` is precomputed: its pair files must be .safetensors")));
                }
                (TowerSource::Encoders(_), true) => {
                    return Err(at(key, format!("tower `{name}` has encoders: its pair files must be .tsv or .csv")));
                }
                _ => {}
            }
        }
    }
    Ok(PairsEntry { train, validation, test, ends, weight })
}
