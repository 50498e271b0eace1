//! Several methods in one sweep: each has its own options alone.

use super::axes::at;
use crate::config::method::{FIT, Method, TRAIN};
use crate::config::recipe::{COMMON, METHOD};

/// The key of [train] that says what is done to latents.
const AUGMENT: &str = "augment";

/// The methods of these recipes, whose values may be lists; none of one that leaves the choice to the recipe. One that
/// has [train], and names none, is a training.
pub(super) fn of<'a>(wholes: impl Iterator<Item = &'a toml::Value>) -> Vec<Option<Method>> {
    let keys = [FIT, METHOD].map(str::to_owned);
    let mut known: Vec<Option<Method>> = Vec::new();
    for whole in wholes {
        let values = match at(whole, &keys) {
            Some(toml::Value::Array(list)) => list.iter().map(Some).collect(),
            value => vec![value],
        };
        for value in values {
            let method = match value {
                Some(value) => value.as_str().and_then(Method::named),
                None => whole.get(TRAIN).map(|_| Method::Fusemix),
            };
            if !known.contains(&method) {
                known.push(method);
            }
        }
    }
    known
}

/// What each `augment` of [train] reads, beside what all trainings do.
const AUGMENTS: [(&str, &[&str]); 7] = [
    ("fusemix", &["mixup", "mixup_alpha", "mixup_alpha_end", "mixup_shared"]),
    ("i-mix", &["mixup", "mixup_alpha", "mixup_alpha_end"]),
    ("m2-mix", &["mixup", "mixup_alpha", "mixup_alpha_end"]),
    ("noise", &["noise"]),
    ("quantise", &["regions"]),
    ("project", &["removed"]),
    ("none", &[]),
];

/// Leaves a recipe's `augment` its own options, where a sweep varies it: what another one of these reads is not said of
/// this one. What none of them reads stays, and is a mistake.
pub(super) fn keep_read(document: &mut toml::Value, augments: &[String]) {
    let Some(train) = document.get_mut(TRAIN).and_then(toml::Value::as_table_mut) else { return };
    let own = train.get(AUGMENT).and_then(toml::Value::as_str).unwrap_or(AUGMENTS[0].0).to_owned();
    let reads = |name: &str, key: &str| AUGMENTS.iter().any(|(of, keys)| *of == name && keys.contains(&key));
    train.retain(|key, _| reads(&own, key) || !augments.iter().any(|other| reads(other, key)));
}

/// The values of `augment` in these recipes, whose values may be lists.
pub(super) fn augments<'a>(wholes: impl Iterator<Item = &'a toml::Value>) -> Vec<String> {
    let keys = [TRAIN, AUGMENT].map(str::to_owned);
    let mut known: Vec<String> = Vec::new();
    for whole in wholes {
        let values = match at(whole, &keys) {
            Some(toml::Value::Array(list)) => list.iter().filter_map(toml::Value::as_str).collect(),
            value => vec![value.and_then(toml::Value::as_str).unwrap_or(AUGMENTS[0].0)],
        };
        known.extend(values.into_iter().map(str::to_owned));
    }
    known.sort_unstable();
    known.dedup();
    known
}

/// Leaves a recipe's method its own options: what a sweep has for another of its methods is not said of it. What none
/// of them has stays, and is a mistake.
pub(super) fn keep_own(document: &mut toml::Value, methods: &[Option<Method>]) {
    let Some(document) = document.as_table_mut() else { return };
    let method = match document.get(FIT).and_then(|fit| fit.get(METHOD)) {
        Some(name) => name.as_str().and_then(Method::named),
        None => document.get(TRAIN).map(|_| Method::Fusemix),
    };
    let Some(method) = method else { return };
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
