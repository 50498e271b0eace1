//! Several methods in one sweep: each has its own options alone.

use std::collections::BTreeSet;

use super::axes::at;
use crate::config::method::{FIT, Method, TRAIN};
use crate::config::recipe::{COMMON, METHOD};

/// True if these recipes, whose values may be lists, do not all have one method.
pub(super) fn are_several<'a>(wholes: impl Iterator<Item = &'a toml::Value>) -> bool {
    let keys = [FIT, METHOD].map(str::to_owned);
    let mut known = BTreeSet::new();
    for whole in wholes {
        match at(whole, &keys) {
            Some(toml::Value::Array(list)) => known.extend(list.iter().map(ToString::to_string)),
            value => _ = known.insert(value.map_or(String::new(), ToString::to_string)),
        }
    }
    known.len() > 1
}

/// Leaves a recipe's method its own options: what a sweep has for another one is not said of it.
pub(super) fn keep_own(document: &mut toml::Value) {
    let Some(document) = document.as_table_mut() else { return };
    let name = document.get(FIT).and_then(|fit| fit.get(METHOD)).and_then(toml::Value::as_str);
    let Some(method) = name.and_then(Method::named) else { return };
    if method != Method::Fusemix {
        document.remove(TRAIN);
    }
    if let Some(fit) = document.get_mut(FIT).and_then(toml::Value::as_table_mut) {
        fit.retain(|key, _| {
            let is_common = key == METHOD || COMMON.contains(&key);
            let is_of_another = Method::with_option(key).is_some_and(|other| other != method);
            is_common || method != Method::Fusemix && !is_of_another && (method != Method::Auto || key == "budget")
        });
    }
}
