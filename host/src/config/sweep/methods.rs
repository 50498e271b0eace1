//! Several methods in one sweep: each has its own options alone.

use super::axes::at;
use crate::config::method::{FIT, Method, TRAIN};
use crate::config::recipe::{COMMON, METHOD};

/// The methods of these recipes, whose values may be lists; none of one that leaves the choice to the recipe.
pub(super) fn of<'a>(wholes: impl Iterator<Item = &'a toml::Value>) -> Vec<Option<Method>> {
    let keys = [FIT, METHOD].map(str::to_owned);
    let mut known: Vec<Option<Method>> = Vec::new();
    for whole in wholes {
        let values = match at(whole, &keys) {
            Some(toml::Value::Array(list)) => list.iter().map(Some).collect(),
            value => vec![value],
        };
        for value in values {
            let method = value.and_then(|value| Method::named(value.as_str()?));
            if !known.contains(&method) {
                known.push(method);
            }
        }
    }
    known
}

/// Leaves a recipe's method its own options: what a sweep has for another of its methods is not said of it. What none
/// of them has stays, and is a mistake.
pub(super) fn keep_own(document: &mut toml::Value, methods: &[Option<Method>]) {
    let Some(document) = document.as_table_mut() else { return };
    let name = document.get(FIT).and_then(|fit| fit.get(METHOD)).and_then(toml::Value::as_str);
    let Some(method) = name.and_then(Method::named) else { return };
    let others = || methods.iter().flatten().filter(|other| **other != method);
    if others().any(|other| *other == Method::Fusemix) {
        document.remove(TRAIN);
    }
    if let Some(fit) = document.get_mut(FIT).and_then(toml::Value::as_table_mut) {
        let chosen = matches!(method, Method::Fusemix | Method::Auto);
        fit.retain(|key, _| {
            let is_of_another = match Method::with_option(key) {
                Some(of) => of != method && others().any(|other| *other == of),
                // Of several closed forms: they tell of it themselves.
                None => chosen && others().any(|other| !matches!(other, Method::Fusemix | Method::Auto)),
            };
            key == METHOD || COMMON.contains(&key) || !is_of_another
        });
    }
}
