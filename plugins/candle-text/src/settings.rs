//! The settings of a tokenizer: tokenizer_config.json, and the older files that say more.

use candle_kit::Source;
use fusemix_sdk::{Error, tracing};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokenizers::AddedToken;

pub(crate) const CONFIG: &str = "tokenizer_config.json";
/// Older files with what the settings say now.
const ROLES_FILE: &str = "special_tokens_map.json";
const ADDED_FILE: &str = "added_tokens.json";
const DECODER: &str = "added_tokens_decoder";
/// The keys of tokens with a role.
pub(crate) const ROLES: [&str; 7] =
    ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"];

/// The content of tokenizer_config.json, and of the older files where it leaves room for them.
pub(crate) struct Settings {
    pub(crate) values: Value,
    /// True if they list all added tokens, so that tokenizer.json's do not count.
    pub(crate) whole: bool,
}

/// The content of a file that newer checkpoints do without, and that older programs did not cache.
fn older(source: &Source, name: &str) -> Result<Option<Value>, Error> {
    if source.knows(name)? {
        return source.json(name);
    }
    tracing::warn!("{}: {name} is not cached; it may name other tokens", source.name());
    Ok(None)
}

impl Settings {
    /// Settings that list the added tokens are whole. Others are overruled by special_tokens_map.json, and completed by
    /// added_tokens.json, whose numbers `known` may have given to other tokens.
    pub(crate) fn read(source: &Source, known: &BTreeMap<u32, AddedToken>) -> Result<Self, Error> {
        let mut values = source.json(CONFIG)?.unwrap_or_default();
        if !values.is_object() {
            values = json!({});
        }
        if values.get(DECODER).is_some() {
            return Ok(Self { values, whole: true });
        }
        for (key, value) in older(source, ROLES_FILE)?.as_ref().and_then(Value::as_object).into_iter().flatten() {
            match (values[key].as_array_mut(), value.as_array()) {
                (Some(own), Some(more)) if key == "extra_special_tokens" => own.extend(more.iter().cloned()),
                _ => values[key] = value.clone(),
            }
        }
        let mut settings = Self { values, whole: false };
        let added = older(source, ADDED_FILE)?;
        let added = added.as_ref().and_then(Value::as_object).into_iter().flatten();
        let named = ROLES.iter().map(|role| &settings.values[*role]);
        let named = named.chain(settings.values["extra_special_tokens"].as_array().into_iter().flatten());
        let special: Vec<String> = named.filter_map(|value| Some(token(value, true)?.content)).collect();
        let decoder: serde_json::Map<String, Value> = added
            .filter_map(|(content, id)| Some((content, id.as_u64()?)))
            .filter(|(_, id)| !u32::try_from(*id).is_ok_and(|id| known.contains_key(&id)))
            .map(|(content, id)| {
                let special = special.contains(content);
                (id.to_string(), json!({"content": content, "special": special, "normalized": !special}))
            })
            .collect();
        settings.values[DECODER] = decoder.into();
        Ok(settings)
    }

    pub(crate) fn is_on(&self, key: &str, default: bool) -> bool {
        self.values[key].as_bool().unwrap_or(default)
    }

    /// The token of a role, with its manners: a text, or an object with its content; if it is not set, that of `usual`.
    pub(crate) fn token(&self, role: &str, usual: &[(&str, &str)]) -> Option<AddedToken> {
        match self.values.get(role) {
            Some(value) => token(value, true),
            None => {
                let own = usual.iter().find(|(known, _)| *known == role);
                own.map(|(_, content)| AddedToken::from(*content, true))
            }
        }
    }

    /// Tokens that are special without one of the roles, or with one that only their model knows.
    pub(crate) fn others(&self) -> Vec<AddedToken> {
        let own = self.values.as_object().into_iter().flatten();
        let own = own.filter(|(key, value)| {
            key.ends_with("_token")
                && !ROLES.contains(&key.as_str())
                && (value.is_string() || value["__type"].is_string())
        });
        let several = ["additional_special_tokens", "extra_special_tokens"].map(|key| &self.values[key]);
        let values = several.into_iter().flat_map(|value| match value {
            Value::Array(tokens) => tokens.iter().collect(),
            Value::Object(tokens) => tokens.values().collect(),
            _ => Vec::new(),
        });
        own.map(|(_, value)| value).chain(values).filter_map(|value| token(value, true)).collect()
    }

    /// `added_tokens_decoder`, by number.
    pub(crate) fn added(&self) -> Vec<AddedToken> {
        let tokens = self.values[DECODER].as_object().into_iter().flatten();
        let mut tokens: Vec<(u32, AddedToken)> =
            tokens.filter_map(|(id, value)| Some((id.parse().ok()?, token(value, false)?))).collect();
        tokens.sort_by_key(|(id, _)| *id);
        tokens.into_iter().map(|(_, token)| token).collect()
    }
}

/// A token as these files have it.
fn token(value: &Value, special: bool) -> Option<AddedToken> {
    if let Some(content) = value.as_str() {
        return Some(AddedToken::from(content, special));
    }
    let is = |key: &str| value[key].as_bool().unwrap_or(false);
    let token = AddedToken::from(value["content"].as_str()?, special || is("special"));
    let token = token.single_word(is("single_word")).lstrip(is("lstrip")).rstrip(is("rstrip"));
    Some(match value["normalized"].as_bool() {
        Some(normalized) => token.normalized(normalized),
        None => token,
    })
}

/// An error of a key of tokenizer_config.json that cannot be followed.
pub(crate) fn refused(source: &Source, key: &str, what: &str) -> Error {
    Error::config(format!("`model = \"{}\"`, {CONFIG}: `{key}` {what}", source.name())).key("model")
}
