//! The options of a recipe's method.

use serde::{Deserialize, Serialize};

use super::super::Error;
use crate::config::{ConfigError, Method, Recipe, table_of};
use crate::fit::asif::AsifOptions;
use crate::fit::auto::Budget;
use crate::fit::cca::CcaOptions;
use crate::fit::fusemix::{Start, TrainOptions};
use crate::fit::kernel_cca::KernelCcaOptions;
use crate::fit::procrustes::ProcrustesOptions;
use crate::fit::ridge::RidgeOptions;
use crate::fit::{ClosedForm, FitError, Hubs, HubsOptions, Setting};
use crate::space::AdapterKind;

/// The options of the recipe's method.
#[derive(Clone)]
pub(super) enum MethodOptions {
    /// A training that can be resumed.
    Fusemix(Box<TrainOptions>),
    /// Another setting.
    Set(Setting),
    /// Parts whose weights are to be found.
    Joint(Vec<Setting>),
    /// A choice among all methods.
    Auto(AutoOptions),
}

/// `[fit]` of a recipe with `method = "auto"`, without what all methods have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AutoOptions {
    /// The work, in time of a nominal machine.
    pub(super) budget: Option<Budget>,
}

/// `[fit]` of a recipe with `method = "joint"`, without what all methods have.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct JointOptions {
    /// The methods, with their options, and their weights or none.
    parts: Option<Vec<toml::Table>>,
}

const METHOD: &str = "method";
const WEIGHT: &str = "weight";
const PARTS: &str = "parts";
/// The parts of a joint fit whose recipe names none.
const USUAL: [Method; 3] = [Method::KernelCca, Method::Asif, Method::Ridge];

impl MethodOptions {
    /// Those of a recipe, and its term against hubs.
    pub(super) fn of(recipe: &Recipe) -> Result<(Self, Hubs), Error> {
        let options = match recipe.method {
            Method::Fusemix => {
                let mut options: TrainOptions = recipe.options()?;
                if !recipe.unpaired.is_empty() {
                    options.unpaired.get_or_insert(TrainOptions::UNPAIRED);
                }
                Self::Fusemix(Box::new(options))
            }
            Method::Auto => Self::Auto(recipe.options()?),
            Method::Joint => joint(recipe)?,
            method => Self::Set(setting(recipe, method, None)?),
        };
        // An identity tower's latents stay as they are, and trained adapters end in embeddings of length 1.
        let identity = recipe.towers.iter().any(|tower| tower.adapter == AdapterKind::Identity);
        let random = |options: &TrainOptions| options.start.unwrap_or_default() == Start::Random;
        let plain = identity || matches!(&options, Self::Fusemix(options) if random(options));
        let hubs: HubsOptions = recipe.common_options()?;
        let hubs = hubs.resolve(if plain { 0.0 } else { HubsOptions::HUBNESS });
        Ok((options, hubs.map_err(|error| located(recipe, error))?))
    }
}

/// Checks the options of the recipe's method, as far as that needs no data.
pub fn check_options(recipe: &Recipe) -> Result<(), Error> {
    match MethodOptions::of(recipe)?.0 {
        MethodOptions::Fusemix(options) => {
            let many = options.resolve(&[(100_000, 1.0)]).map(drop);
            many.map_err(|error| recipe.error_at_option(error.key, error.to_string()).into())
        }
        _ => Ok(()),
    }
}

/// A setting as the options of a resolved recipe.
pub(super) fn resolved(setting: &Setting) -> (Method, toml::Table) {
    let table = |options: Result<toml::Table, toml::ser::Error>| options.expect("numbers and names are TOML");
    let method = Method::named(setting.method()).expect("settings have the names of methods");
    let options = match setting {
        Setting::ClosedForm(options) => table(table_of(options)),
        Setting::Fusemix(options) => table(table_of(options)),
        Setting::Joint(parts) => {
            let part = |(weight, part): &(f32, Setting)| {
                let (method, mut options) = resolved(part);
                options.insert(METHOD.to_owned(), method.name().into());
                let weight = toml::Table::from_iter([(WEIGHT.to_owned(), f64::from(*weight).into())]);
                options.extend(table(table_of(&weight)));
                toml::Value::Table(options)
            };
            let parts = parts.iter().map(part).collect::<Vec<_>>();
            toml::Table::from_iter([(PARTS.to_owned(), parts.into())])
        }
    };
    (method, options)
}

/// A method with the options of `[fit]`, or with those of a part.
fn setting(recipe: &Recipe, method: Method, part: Option<&toml::Table>) -> Result<Setting, Error> {
    fn read<T: serde::de::DeserializeOwned + Default>(
        recipe: &Recipe,
        part: Option<&toml::Table>,
    ) -> Result<T, ConfigError> {
        match part {
            None => recipe.options(),
            Some(table) => recipe.options_in(table),
        }
    }
    let closed = match method {
        Method::KernelCca => read::<KernelCcaOptions>(recipe, part)?.resolve().map(ClosedForm::KernelCca),
        Method::Cca => read::<CcaOptions>(recipe, part)?.resolve().map(ClosedForm::Cca),
        Method::Ridge => read::<RidgeOptions>(recipe, part)?.resolve().map(ClosedForm::Ridge),
        Method::Procrustes => read::<ProcrustesOptions>(recipe, part)?.resolve().map(ClosedForm::Procrustes),
        Method::Asif => read::<AsifOptions>(recipe, part)?.resolve().map(ClosedForm::Asif),
        Method::Fusemix => {
            let options = read::<TrainOptions>(recipe, part)?;
            let resolved = options.resolve(&[(100_000, 1.0)]);
            resolved.map_err(|error| recipe.error_at_option(PARTS, error.to_string()))?;
            return Ok(Setting::Fusemix(Box::new(options)));
        }
        Method::Joint | Method::Auto => {
            let message = format!("`method = \"{}\"` cannot be a part of a joint fit", method.name());
            return Err(recipe.error_at_option(PARTS, message).into());
        }
    };
    Ok(Setting::ClosedForm(closed.map_err(|error| located(recipe, error))?))
}

fn joint(recipe: &Recipe) -> Result<MethodOptions, Error> {
    let usual = || {
        let of = |method: Method| toml::Table::from_iter([(METHOD.to_owned(), method.name().into())]);
        // ASIF compares only towers that have pairs with each other.
        let joined =
            |i: usize, j: usize| recipe.pairs.iter().any(|pairs| pairs.ends.each_ref().map(|end| end.tower) == [i, j]);
        let towers = recipe.towers.len();
        let all = (0..towers).all(|i| (i + 1..towers).all(|j| joined(i, j)));
        USUAL.into_iter().filter(|method| all || *method != Method::Asif).map(of).collect()
    };
    let tables = recipe.options::<JointOptions>()?.parts.unwrap_or_else(usual);
    let wrong = |message: String| Error::from(recipe.error_at_option(PARTS, message));
    if !(2..=4).contains(&tables.len()) {
        return Err(wrong(format!("`parts` has {}: a joint fit has 2 to 4", tables.len())));
    }
    let (mut parts, mut weights) = (Vec::new(), Vec::new());
    for mut table in tables {
        let name = table.remove(METHOD);
        let name = name.as_ref().and_then(toml::Value::as_str).unwrap_or_default();
        let method = Method::named(name).ok_or_else(|| {
            let suggestion = crate::wording::suggest(name, Method::ALL.map(Method::name));
            wrong(format!("each of `parts` needs a `method`, and `{name}` is none{suggestion}"))
        })?;
        if let Some(value) = table.remove(WEIGHT) {
            let number = value.as_float().or(value.as_integer().map(|number| number as f64));
            let number = number.filter(|number| *number > 0.0 && *number <= 1000.0);
            let wrong = || wrong(format!("`weight = {value}` of a part must be a number above 0 and at most 1000"));
            weights.push(number.ok_or_else(wrong)? as f32);
        }
        parts.push(setting(recipe, method, Some(&table))?);
    }
    match weights.len() {
        0 => Ok(MethodOptions::Joint(parts)),
        all if all == parts.len() => Ok(MethodOptions::Set(Setting::Joint(weights.into_iter().zip(parts).collect()))),
        _ => Err(wrong("give each of `parts` a `weight`, or none, and they are found by cross-validation".to_owned())),
    }
}

/// An error at the option that it is about.
fn located(recipe: &Recipe, error: FitError) -> Error {
    match &error {
        FitError::Option { key, .. } => recipe.error_at_option(key, error.to_string()).into(),
        _ => error.into(),
    }
}
