//! fusion.toml: the towers of a fusion, the pairs that join them, and the training options.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

use super::groups;
use super::method::{FIT, Method, TRAIN};
use super::pairs::{PAIRS, PairsEntry, UNPAIRED, UnpairedEntry, is_key_of_pairs};
use super::toml_file::{ConfigError, TomlFile, in_words, shortest, with_nearest_of};
use super::tower::{TowerEntry, WEIGHT};
use crate::nn::AdapterKind;
use crate::wording::suggest;

/// fusion.toml as read.
#[derive(Clone, Debug)]
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

/// The key of `[fit]` that names the method.
pub(super) const METHOD: &str = "method";
/// The tables and lists of a recipe.
pub(super) const KEYS: [&str; 5] = ["tower", PAIRS, UNPAIRED, FIT, TRAIN];
const PARTS: &str = "parts";
/// The keys of `[fit]` that all methods have.
pub(super) const COMMON: [&str; 2] = ["hubness", "neighbours"];

impl Recipe {
    /// Reads `path` and checks everything that needs no data or encoders.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(TomlFile::read(path, "check the path of the recipe")?)
    }

    /// The recipe in a text.
    pub fn parse(file: TomlFile) -> Result<Self, ConfigError> {
        check_tables(&file)?;
        let document: Document = file.parse()?;
        let towers = document.tower.into_iter().map(|(name, table)| TowerEntry::parse(&file, name, table));
        let towers: Vec<TowerEntry> = towers.collect::<Result<_, _>>()?;
        if towers.len() < 2 {
            return Err(file.error_at(&["tower"], "a fusion needs at least two towers: [tower.image], [tower.text]"));
        }
        let pairs = document.pairs.into_iter().enumerate();
        let pairs: Vec<PairsEntry> =
            pairs.map(|(index, table)| PairsEntry::parse(&file, &towers, index, &table)).collect::<Result<_, _>>()?;
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
        let are_fixed = towers.iter().all(fixed);
        let is_plain = are_fixed && train.is_none();
        let default = match is_plain || train.is_some() || !unpaired.is_empty() || towers.iter().any(of_training) {
            true if is_plain => Method::Identity,
            true => Method::Fusemix,
            false => Method::Auto,
        };
        let (method, fit) = method(&file, fit, default, train.is_some())?;
        if (method == Method::Identity) != are_fixed && !(are_fixed && train.is_some()) {
            let message = match are_fixed {
                true => "all towers have `adapter = \"identity\"`, so nothing is left to fit: remove `method`, or one",
                false => "`method = \"identity\"` fits nothing: give each tower `adapter = \"identity\"`",
            };
            return Err(file.error_at(&[FIT, METHOD], message));
        }
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
        let other = |key: &&String| Method::with_option(key).filter(|method| *method != self.method);
        if let Some((key, method)) = table.keys().find_map(|key| Some((key, other(&key)?))) {
            let (its, own) = (method.name(), self.method.name());
            let message = format!(
                "`{key}` is an option of `method = \"{its}\"`, and `{own}` has none: remove it, or take `{its}`"
            );
            return Err(self.error_at_option(key, message));
        }
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
            towers.insert(tower.name.clone(), tower.to_toml().into());
        }
        let mut document = toml::Table::new();
        document.insert("tower".into(), towers.into());
        let pairs: Vec<_> = self.pairs.iter().map(|entry| entry.to_toml(&self.towers)).collect();
        document.insert("pairs".into(), pairs.into());
        let unpaired: Vec<_> = self.unpaired.iter().map(|entry| entry.to_toml(&self.towers)).collect();
        if !self.unpaired.is_empty() {
            document.insert(UNPAIRED.into(), unpaired.into());
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

/// Refuses a recipe without towers or pairs, and lists that are written as tables.
fn check_tables(file: &TomlFile) -> Result<(), ConfigError> {
    file.check_lists("a recipe", &[PAIRS, UNPAIRED])?;
    let document: toml::Table = file.parse()?;
    // What is another file of the program's says so itself.
    if let Some(key) = ["seeds", "variant", "baseline"].into_iter().find(|key| document.contains_key(*key)) {
        let message = format!("`{key}` is a key of a sweep: `fusemix sweep FILE --out DIR` takes this file");
        return Err(file.error_at(&[key], message));
    }
    if let Some(key) = ["plugin", "encoder"].into_iter().find(|key| document.contains_key(*key)) {
        let message = format!("[{key}] belongs into plugins.toml; a recipe has [tower.NAME] and [[pairs]]");
        return Err(file.error_at(&[key], message));
    }
    check_places(file, &document)?;
    let towers = document.get("tower").or(document.get("towers")).and_then(toml::Value::as_table);
    let Some(first) = towers.and_then(|towers| towers.keys().next()) else {
        return Err(file.error_at(&[], "there are no towers: add [tower.NAME] for each modality, with `encoder`"));
    };
    if !document.contains_key(PAIRS) {
        let message = format!(
            "there are no pairs: add [[pairs]] with `train`, a file, and the columns of two towers' items, such as \
             {first} = \"COLUMN\""
        );
        return Err(file.error_at(&[], message));
    }
    Ok(())
}

/// Refuses keys of [[pairs]] among the options of a method, where they would be unknown.
fn check_places(file: &TomlFile, document: &toml::Table) -> Result<(), ConfigError> {
    for table in [TRAIN, FIT] {
        let keys = document.get(table).and_then(toml::Value::as_table).into_iter().flat_map(toml::Table::keys);
        if let Some(key) = keys.into_iter().find(|key| is_key_of_pairs(key)) {
            let message = format!("`{key}` chooses among pairs: it belongs into [[pairs]], not into [{table}]");
            return Err(file.error_at(&[table, key], message));
        }
    }
    Ok(())
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
