//! The text tower's part of an aligned model's config.json.

use serde_json::Value;

/// The `usual` values, and over them those of config.json: of a tower alone all of it, of a whole model `text_config` and
/// the keys that its towers share (`shared`), which are beside it.
pub(super) fn text_config(config: &Value, mut usual: Value, shared: &[&str]) -> Value {
    // Old files have both, and the first counts.
    let own = ["text_config_dict", "text_config"].into_iter().map(|key| &config[key]).find(|own| own.is_object());
    let common: Vec<(&str, Value)> = match own {
        Some(_) => shared.iter().map(|&key| (key, config.get(key).unwrap_or(&usual[key]).clone())).collect(),
        None => Vec::new(),
    };
    if let (Value::Object(usual), Value::Object(own)) = (&mut usual, own.unwrap_or(config)) {
        usual.extend(own.clone());
    }
    common.into_iter().for_each(|(key, value)| usual[key] = value);
    usual
}
