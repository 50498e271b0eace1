//! A sweep: a recipe in which values may be lists, each of which is varied, and the recipes that come of it.

mod axes;
mod derived;
mod methods;
#[cfg(test)]
mod tests;
mod variants;

use std::collections::{BTreeSet, HashSet};
use std::path::Path;

use super::method::{FIT, Method, TRAIN};
use super::recipe::{KEYS, Recipe};
use super::toml_file::{ConfigError, TomlFile};
use super::tower::TowerEntry;
use crate::wording::suggest;

pub use derived::DerivedEncoder;

use axes::{Place, found, names, product, shown};
use derived::derived;
use methods::{keep_own, keep_read};
use variants::{VARIANT, merge, variants};

/// A sweep as read.
#[derive(Clone, Debug)]
pub struct Sweep {
    /// The file.
    pub file: TomlFile,
    /// The keys that are varied.
    pub axes: Vec<Axis>,
    /// What is fitted, in the order of the axes' values, the last axis first.
    pub variations: Vec<Variation>,
    /// The seeds of each.
    pub seeds: Vec<u64>,
    /// The variation that others are compared with: the first, unless `baseline` names another.
    pub baseline: usize,
    /// The pairs that they are judged on.
    pub on: Pairs,
}

/// The pairs that variations are judged on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pairs {
    /// The `test` files.
    #[default]
    Test,
    /// The `validation` files.
    Validation,
}

/// A key whose values are varied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// The key in a word or two, such as `image` for the encoder of that tower.
    pub name: String,
    /// The keys that lead to it.
    pub keys: Vec<String>,
    /// Its values, as they are shown.
    pub values: Vec<String>,
    /// True if they are numbers.
    pub are_numbers: bool,
}

/// One recipe of a sweep.
#[derive(Clone, Debug)]
pub struct Variation {
    /// The name of its `[[variant]]`, if the sweep has some, and its values.
    pub name: String,
    /// The name of its `[[variant]]`.
    pub variant: Option<String>,
    /// Its place among the values of each axis; none on one of an encoder, or of a method, that it does not have.
    pub at: Vec<Option<usize>>,
    /// The recipe.
    pub recipe: Recipe,
    /// The recipe's text, with all that tells it from others.
    pub text: String,
    /// The encoders that are set up in another way than plugins.toml has them.
    pub encoders: Vec<DerivedEncoder>,
}

/// The most variations of a sweep.
const MOST: usize = 10_000;

/// The keys that a sweep has beside those of a recipe.
const SEEDS: &str = "seeds";
const BASELINE: &str = "baseline";
const ON: &str = "on";
const ENCODER: &str = "encoder";

/// A recipe whose values may be lists: its file, the name of its `[[variant]]`, and its document.
type Whole = (TomlFile, Option<String>, toml::Value);
/// The number of a recipe with lists, and a recipe of those that come of it.
type Placed = (usize, Place);

impl Sweep {
    /// Reads `path`, and checks each recipe as far as that needs no data or encoders.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(TomlFile::read(path, "check the path of the sweep")?)
    }

    /// The sweep in a text.
    pub fn parse(file: TomlFile) -> Result<Self, ConfigError> {
        let mut document: toml::Table = file.parse()?;
        check_keys(&file, &document)?;
        let seeds = seeds(&file, document.remove(SEEDS))?;
        let baseline = document.remove(BASELINE);
        let on = on(&file, document.remove(ON))?;
        let mut wholes = Vec::new();
        for (at, (name, changes)) in variants(&file, document.remove(VARIANT))?.into_iter().enumerate() {
            let mut whole = toml::Value::Table(document.clone());
            merge(&mut whole, toml::Value::Table(changes));
            let file = if name.is_some() { file.with_first(&[VARIANT, &at.to_string()]) } else { file.clone() };
            wholes.push((file, name, whole));
        }
        let (axes, places) = places(&wholes)?;
        if places.len() * seeds.len() > MOST {
            let message = format!("this makes {} fits; a sweep has at most {MOST}", places.len() * seeds.len());
            return Err(file.error_at(&[], message));
        }
        let methods = methods::of(wholes.iter().map(|(_, _, whole)| whole));
        let augments = methods::augments(wholes.iter().map(|(_, _, whole)| whole));
        let mut known = HashSet::new();
        let mut variations: Vec<Variation> = Vec::new();
        for (variant, place) in places {
            let (file, name, _) = &wholes[variant];
            let variation = variation(file, name.as_ref(), &axes, place, (&methods, &augments))?;
            // What changes an encoder that no tower has changes nothing.
            if known.insert(variation.text.clone()) {
                variations.push(variation);
            }
        }
        check_changed(&file, &wholes, &variations)?;
        let baseline = of_name(&file, baseline, &variations)?;
        Ok(Self { file, axes, variations, seeds, baseline, on })
    }
}

/// Refuses keys that neither a sweep nor a recipe has.
fn check_keys(file: &TomlFile, document: &toml::Table) -> Result<(), ConfigError> {
    let known = || [SEEDS, BASELINE, ON, VARIANT, ENCODER].into_iter().chain(KEYS);
    // Of what belongs into plugins.toml, the recipe tells.
    match document.keys().find(|key| !known().any(|known| known == *key) && *key != "plugin") {
        Some(key) => Err(file.error_at(&[key], format!("unknown key `{key}` of a sweep{}", suggest(key, known())))),
        None => Ok(()),
    }
}

/// The keys that any of the variants varies, and the place of each recipe on them, with the number of its variant.
fn places(wholes: &[Whole]) -> Result<(Vec<Axis>, Vec<Placed>), ConfigError> {
    // All variants have the same axes: one that sets a key for itself has a single value there.
    let mut keys: Vec<Vec<String>> = Vec::new();
    for (_, _, whole) in wholes {
        for varied in found(whole) {
            if !keys.contains(&varied) {
                keys.push(varied);
            }
        }
    }
    let mut axes: Vec<(Vec<String>, Vec<toml::Value>)> = keys.into_iter().map(|keys| (keys, Vec::new())).collect();
    let mut places = Vec::new();
    for (variant, (file, _, whole)) in wholes.iter().enumerate() {
        places.extend(product(file, whole, &mut axes)?.into_iter().map(|place| (variant, place)));
    }
    let names = names(axes.iter().map(|(keys, _)| &keys[..]).collect());
    let axis = |(name, (keys, values)): (String, (Vec<String>, Vec<toml::Value>))| Axis {
        name,
        keys,
        are_numbers: values.iter().all(|value| value.is_integer() || value.is_float()),
        values: values.iter().map(shown).collect(),
    };
    Ok((names.into_iter().zip(axes).map(axis).collect(), places))
}

/// The recipe at a place.
fn variation(
    file: &TomlFile,
    variant: Option<&String>,
    axes: &[Axis],
    (at, mut document): Place,
    (methods, augments): (&[Option<Method>], &[String]),
) -> Result<Variation, ConfigError> {
    if methods.len() > 1 {
        keep_own(&mut document, methods);
    }
    if augments.len() > 1 {
        keep_read(&mut document, augments);
    }
    let whole = document.clone();
    let encoders = derived(file, &mut document)?;
    // What is said of an encoder, or of a method, that this one does not have is not said of it.
    let is_its = |axis: &Axis| match &axis.keys[..] {
        [key, name, ..] if key == ENCODER => encoders.iter().any(|encoder| encoder.base == *name),
        [table, ..] if table == TRAIN || table == FIT => {
            methods.len() < 2 && augments.len() < 2 || axes::at(&whole, &axis.keys).is_some()
        }
        _ => true,
    };
    let at: Vec<Option<usize>> = axes.iter().zip(at).map(|(axis, at)| is_its(axis).then_some(at)).collect();
    let values = axes.iter().zip(&at).filter_map(|(axis, at)| {
        let value = &axis.values[(*at)?];
        let is_short = axis.are_numbers || value.len() < 6;
        Some(if is_short { format!("{} {value}", axis.name) } else { value.clone() })
    });
    let name = variant.cloned().into_iter().chain(values).collect::<Vec<_>>().join(", ");
    let name = if name.is_empty() { "as it is".to_owned() } else { name };
    let text = toml::to_string(&document).expect("what was TOML is TOML");
    let recipe = Recipe::parse(TomlFile::made_of(file, text.clone()));
    let recipe = recipe.map_err(|error| error.with(&format!(" (variation: {name})")))?;
    Ok(Variation { name, variant: variant.cloned(), at, recipe, text, encoders })
}

/// Refuses a change of an encoder that no tower has.
fn check_changed(file: &TomlFile, wholes: &[Whole], variations: &[Variation]) -> Result<(), ConfigError> {
    let bases: Vec<&String> = variations.iter().flat_map(|variation| &variation.encoders).map(|of| &of.base).collect();
    let tables = wholes.iter().filter_map(|(own, _, whole)| Some((own, whole.get(ENCODER)?.as_table()?)));
    let mut names = tables.flat_map(|(own, table)| table.keys().map(move |name| (own, name)));
    let Some((own, name)) = names.find(|(_, name)| !bases.contains(name)) else { return Ok(()) };
    let towers = variations.iter().flat_map(|variation| &variation.recipe.towers);
    let known: BTreeSet<&str> = towers.flat_map(TowerEntry::encoders).filter(|name| !name.contains(' ')).collect();
    let file = if file.has(&[ENCODER, name]) { file } else { own };
    Err(file.error_at(&[ENCODER, name], format!("no tower has the encoder `{name}`{}", suggest(name, known))))
}

/// `on`: the pairs to judge by.
fn on(file: &TomlFile, value: Option<toml::Value>) -> Result<Pairs, ConfigError> {
    match value.as_ref().map(toml::Value::as_str) {
        None => Ok(Pairs::default()),
        Some(Some("test")) => Ok(Pairs::Test),
        Some(Some("validation")) => Ok(Pairs::Validation),
        _ => {
            let value = value.unwrap_or_else(|| "".into());
            Err(file.error_at(&[ON], format!("`on = {value}` must be \"test\" or \"validation\"")))
        }
    }
}

/// `seeds`: a list, or the number of seeds from 0 on.
fn seeds(file: &TomlFile, value: Option<toml::Value>) -> Result<Vec<u64>, ConfigError> {
    let number = |value: &toml::Value| value.as_integer().and_then(|seed| u64::try_from(seed).ok());
    let seeds: Option<Vec<u64>> = match &value {
        None => Some(vec![0]),
        Some(toml::Value::Array(list)) => list.iter().map(number).collect(),
        Some(value) => number(value).map(|count| (0..count.min(MOST as u64)).collect()),
    };
    let distinct = |seeds: &Vec<u64>| seeds.iter().enumerate().all(|(at, seed)| !seeds[..at].contains(seed));
    seeds.filter(|seeds| !seeds.is_empty() && distinct(seeds)).ok_or_else(|| {
        let message = "`seeds` must be a number of seeds, 1 or more, or a list of different ones: seeds = [0, 1, 2]";
        file.error_at(&[SEEDS], message)
    })
}

/// The variation that `baseline` names, by its own name or by that of its variant.
fn of_name(file: &TomlFile, baseline: Option<toml::Value>, variations: &[Variation]) -> Result<usize, ConfigError> {
    let Some(value) = baseline else { return Ok(0) };
    let name = value.as_str();
    let found = name.and_then(|name| {
        let exact = variations.iter().position(|variation| variation.name == name);
        exact.or_else(|| variations.iter().position(|variation| variation.variant.as_deref() == Some(name)))
    });
    found.ok_or_else(|| {
        let names = variations.iter().take(20).map(|variation| format!("\"{}\"", variation.name));
        let message =
            format!("`baseline = {value}` is no variation; there are {}", names.collect::<Vec<_>>().join(", "));
        file.error_at(&[BASELINE], message)
    })
}
