//! Supported values in config.json: any others would give latents that differ from the authors', and are refused.

use serde_json::Value;

/// A key, and its implemented values as JSON; `null` also stands for a missing key.
pub(super) type Supported = (&'static str, &'static [&'static str]);

/// The values of a key that is off by default.
pub(super) const OFF: &[&str] = &["false", "null"];

/// The keys with rotary settings in config.json.
const ROPES: [&str; 4] =
    ["rope_scaling", "rope_parameters", "rope_parameters.full_attention", "rope_parameters.sliding_attention"];
/// Their supported values.
const ROPE: [Supported; 4] = [
    ("rope_type", ROPE_TYPES),
    // The same in older files.
    ("type", ROPE_TYPES),
    ("mixed_b", &["null"]),
    ("partial_rotary_factor", &["1.0", "1", "null"]),
];
const ROPE_TYPES: &[&str] = &["\"default\"", "\"linear\"", "null"];
/// The same for a family that also knows the NTK-aware scaling.
pub(super) const ROPE_TYPES_WITH_NTK: &[&str] = &["\"default\"", "\"linear\"", "\"ntk\"", "null"];
/// For a family that reads nothing under a key.
pub(super) const NONE: &[&str] = &["null"];

/// The first key of `config` whose value is not among the `supported` values of its family or, for rotary positions if
/// the family has none, among those of all families.
pub(super) fn refusal(config: &Value, supported: &[Supported]) -> Option<String> {
    let ropes = ROPES.iter().flat_map(|place| ROPE.map(|(key, values)| (format!("{place}.{key}"), values)));
    let ropes = ropes.filter(|(key, _)| !supported.iter().any(|(own, _)| own == key));
    let own = supported.iter().map(|&(key, values)| (key.to_owned(), values));
    own.chain(ropes).find_map(|(key, values)| {
        let said = config.pointer(&format!("/{}", key.replace('.', "/"))).unwrap_or(&Value::Null).to_string();
        let only = || values.join(" or ");
        (!values.contains(&&*said)).then(|| format!("`{key}` is {said}; this plugin supports only {}", only()))
    })
}
