//! The options of a recipe's method.

use serde::{Deserialize, Serialize};

use super::super::Error;
use crate::config::{ConfigError, Method, Recipe, TowerEntry, table_of};
use crate::fit::asif::AsifOptions;
use crate::fit::auto::Budget;
use crate::fit::cca::CcaOptions;
use crate::fit::fusemix::{OptionError, Start, TrainOptions};
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
    /// Nothing: the towers are in one space.
    Nothing,
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

/// `[fit]` of a recipe with `method = "identity"`.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NoOptions {}

const METHOD: &str = "method";
const WEIGHT: &str = "weight";
const PARTS: &str = "parts";
/// The parts of a joint fit whose recipe names none.
const USUAL: [Method; 3] = [Method::KernelCca, Method::Asif, Method::Ridge];

impl MethodOptions {
    /// Those of a recipe, and its term against hubs.
    pub(super) fn of(recipe: &Recipe) -> Result<(Self, Hubs), Error> {
        let whole = Place { recipe, part: None };
        let options = match recipe.method {
            Method::Fusemix => {
                let mut options: TrainOptions = recipe.options()?;
                if !recipe.unpaired.is_empty() {
                    options.unpaired.get_or_insert(TrainOptions::UNPAIRED);
                }
                Self::Fusemix(Box::new(options))
            }
            Method::Auto => Self::Auto(recipe.options()?),
            Method::Identity => {
                recipe.options::<NoOptions>()?;
                let hubs: HubsOptions = recipe.common_options()?;
                if hubs.hubness.is_some_and(|hubness| hubness > 0.0) {
                    let message = "`hubness` counts training items, and `method = \"identity\"` has none; remove it";
                    return Err(recipe.error_at_option("hubness", message).into());
                }
                Self::Nothing
            }
            Method::Joint => joint(recipe)?,
            method => Self::Set(setting(whole, method)?),
        };
        // An identity tower's latents stay as they are, and trained adapters end in embeddings of length 1.
        let identity = recipe.towers.iter().any(is_fixed);
        let random = |options: &TrainOptions| options.start.unwrap_or_default() == Start::Random;
        let plain = identity || matches!(&options, Self::Fusemix(options) if random(options));
        let hubs: HubsOptions = recipe.common_options()?;
        let hubs = hubs.resolve(if plain { 0.0 } else { HubsOptions::HUBNESS });
        Ok((options, hubs.map_err(|error| whole.located(error))?))
    }
}

impl MethodOptions {
    /// True if items without a pair take part.
    pub(super) fn take_unpaired(&self) -> bool {
        matches!(self, Self::Fusemix(options) if options.unpaired.is_some_and(|weight| weight > 0.0))
    }
}

/// True if a recipe's items without a pair take part in its training.
pub(in crate::session) fn takes_unpaired(recipe: &Recipe) -> bool {
    MethodOptions::of(recipe).is_ok_and(|(options, _)| options.take_unpaired())
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

/// The place of a method's options: `[fit]` or `[train]`, or a part of a joint fit.
#[derive(Clone, Copy)]
struct Place<'a> {
    recipe: &'a Recipe,
    /// The number of the part and its table, without method and weight.
    part: Option<(usize, &'a toml::Table)>,
}

impl Place<'_> {
    fn read<T: serde::de::DeserializeOwned + Default>(self) -> Result<T, ConfigError> {
        match self.part {
            None => self.recipe.options(),
            Some((part, table)) => self.recipe.part_options(part, table),
        }
    }

    fn wrong(self, key: &str, message: impl Into<String>) -> Error {
        match self.part {
            None => self.recipe.error_at_option(key, message).into(),
            Some((part, _)) => self.recipe.error_at_part(part, key, message).into(),
        }
    }

    /// An error at the option that it is about.
    fn located(self, error: FitError) -> Error {
        match &error {
            FitError::Option { key, .. } => self.wrong(key, error.to_string()),
            FitError::Apart { .. } => self.wrong(METHOD, error.to_string()),
            _ => error.into(),
        }
    }
}

/// A method with its options.
fn setting(place: Place<'_>, method: Method) -> Result<Setting, Error> {
    let closed = match method {
        Method::KernelCca => place.read::<KernelCcaOptions>()?.resolve().map(ClosedForm::KernelCca),
        Method::Cca => place.read::<CcaOptions>()?.resolve().map(ClosedForm::Cca),
        Method::Ridge => place.read::<RidgeOptions>()?.resolve().map(ClosedForm::Ridge),
        Method::Procrustes => place.read::<ProcrustesOptions>()?.resolve().map(ClosedForm::Procrustes),
        Method::Asif => place.read::<AsifOptions>()?.resolve().and_then(|options| {
            let compares = options.width == 0 && !place.recipe.towers.iter().any(is_fixed);
            match apart(place.recipe).filter(|_| compares) {
                Some([first, second]) => Err(FitError::Apart { first, second }),
                None => Ok(ClosedForm::Asif(options)),
            }
        }),
        Method::Fusemix => return Ok(Setting::Fusemix(Box::new(trained_part(place)?))),
        Method::Joint | Method::Auto | Method::Identity => {
            let message = format!("`method = \"{}\"` cannot be a part of a joint fit", method.name());
            return Err(place.wrong(METHOD, message));
        }
    };
    Ok(Setting::ClosedForm(closed.map_err(|error| place.located(error))?))
}

fn is_fixed(tower: &TowerEntry) -> bool {
    tower.adapter == AdapterKind::Identity
}

/// Two towers that have no pairs with each other, if there are some.
fn apart(recipe: &Recipe) -> Option<[String; 2]> {
    let joined =
        |i: usize, j: usize| recipe.pairs.iter().any(|pairs| pairs.ends.each_ref().map(|end| end.tower) == [i, j]);
    let towers = recipe.towers.len();
    let mut both = (0..towers).flat_map(|i| (i + 1..towers).map(move |j| [i, j]));
    Some(both.find(|[i, j]| !joined(*i, *j))?.map(|tower| recipe.towers[tower].name.clone()))
}

/// The options of a training as one of several fits.
fn trained_part(place: Place<'_>) -> Result<TrainOptions, Error> {
    let options = place.read::<TrainOptions>()?;
    let TrainOptions { patience, eval_every, checkpoint_minutes, checkpoint_steps, unpaired, unpaired_batch, .. } =
        &options;
    let idle = [
        ("patience", patience.is_some()),
        ("eval_every", eval_every.is_some()),
        ("checkpoint_minutes", checkpoint_minutes.is_some()),
        ("checkpoint_steps", checkpoint_steps.is_some()),
        ("unpaired", unpaired.is_some()),
        ("unpaired_batch", unpaired_batch.is_some()),
    ];
    if let Some((key, _)) = idle.into_iter().find(|(_, is_set)| *is_set) {
        let message = format!(
            "`{key}` says nothing to a part of a joint fit, which is trained to its last epoch on pairs alone, \
             without validation pairs and checkpoints; remove it"
        );
        return Err(place.wrong(key, message));
    }
    let wrong = |OptionError { key, value, reason }| place.wrong(key, format!("`{key} = {value}`: {reason}"));
    options.resolve(&[(100_000, 1.0)]).map_err(wrong)?;
    Ok(options)
}

fn joint(recipe: &Recipe) -> Result<MethodOptions, Error> {
    let usual = || {
        let of = |method: Method| toml::Table::from_iter([(METHOD.to_owned(), method.name().into())]);
        // ASIF compares only towers that have pairs with each other.
        let all = apart(recipe).is_none();
        USUAL.into_iter().filter(|method| all || *method != Method::Asif).map(of).collect()
    };
    let tables = recipe.options::<JointOptions>()?.parts.unwrap_or_else(usual);
    let wrong = |message: String| Error::from(recipe.error_at_option(PARTS, message));
    if !(2..=4).contains(&tables.len()) {
        return Err(wrong(format!("`parts` has {}: a joint fit has 2 to 4", tables.len())));
    }
    let (mut parts, mut weights) = (Vec::new(), Vec::new());
    for (number, mut table) in tables.into_iter().enumerate() {
        let (name, weight) = (table.remove(METHOD), table.remove(WEIGHT));
        let place = Place { recipe, part: Some((number, &table)) };
        let name = name.as_ref().and_then(toml::Value::as_str).unwrap_or_default();
        let method = Method::named(name).ok_or_else(|| {
            let suggestion = crate::wording::suggest(name, Method::ALL.map(Method::name));
            place.wrong(METHOD, format!("each of `parts` needs a `method`, and `{name}` is none{suggestion}"))
        })?;
        if let Some(value) = weight {
            let number = value.as_float().or(value.as_integer().map(|number| number as f64));
            let number = number.filter(|number| *number > 0.0 && *number <= 1000.0);
            let message = || format!("`weight = {value}` of a part must be a number above 0 and at most 1000");
            weights.push(number.ok_or_else(|| place.wrong(WEIGHT, message()))? as f32);
        }
        parts.push(setting(place, method)?);
    }
    match weights.len() {
        0 => Ok(MethodOptions::Joint(parts)),
        all if all == parts.len() => Ok(MethodOptions::Set(Setting::Joint(weights.into_iter().zip(parts).collect()))),
        _ => Err(wrong("give each of `parts` a `weight`, or none, and they are found by cross-validation".to_owned())),
    }
}
