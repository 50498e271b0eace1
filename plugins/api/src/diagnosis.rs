//! The key of a request that a server refuses: found by leaving keys out, one after the other.

use fusemix_sdk::Error;
use serde_json::Value;

use crate::provider::Spare;
use crate::settings::Encoding;

/// The name of the key that says how vectors are encoded.
const ENCODING: &str = "encoding";

/// A changed request, and the advice if the server answers it.
pub(crate) struct Probe {
    pub(crate) body: Value,
    /// The keys that it changes: as they are sent, and as plugins.toml has them.
    keys: Vec<Spare>,
    /// The encoding that it asks for instead, if that is what it changes.
    encoding: Option<Encoding>,
}

/// The probes of a request that was refused with these words, the likeliest first; none if nothing can be left out.
pub(crate) fn probes(body: &Value, spare: &[Spare], encoding: Encoding, words: &str) -> Vec<Probe> {
    let mut keys: Vec<Spare> = spare.iter().copied().filter(|(sent, _)| holds(body, sent)).collect();
    keys.sort_by_key(|(sent, _)| !words.contains(sent));
    let mut probes = Vec::new();
    for key @ (sent, toml) in keys.iter().copied() {
        let is_encoding = toml == ENCODING;
        if is_encoding && encoding == Encoding::Base64 && sent != "output_encoding" {
            let mut body = body.clone();
            body[sent] = "float".into();
            probes.push(Probe { body, keys: vec![key], encoding: Some(Encoding::Float) });
        }
        let encoding = is_encoding.then_some(Encoding::Unsaid);
        probes.push(Probe { body: without(body, &[key]), keys: vec![key], encoding });
    }
    if keys.len() > 1 {
        probes.push(Probe { body: without(body, &keys), keys, encoding: None });
    }
    probes
}

/// True if a request can say how vectors are encoded.
pub(crate) fn has_encoding(spare: &[Spare]) -> bool {
    spare.iter().any(|(_, toml)| *toml == ENCODING)
}

/// The same request for numbers instead of base64: said, and left unsaid; none if that is how it is.
pub(crate) fn as_numbers(body: &Value, spare: &[Spare]) -> Vec<Value> {
    let keys: Vec<Spare> = spare.iter().copied().filter(|(_, toml)| *toml == ENCODING).collect();
    let Some(key) = keys.iter().find(|(sent, _)| holds(body, sent)).or(keys.first()).copied() else {
        return Vec::new();
    };
    let mut said = body.clone();
    said[key.0] = "float".into();
    [said, without(body, &[key])].into_iter().filter(|other| other != body).collect()
}

impl Probe {
    /// The error if the server answers this and not the request itself, which it refused with these `words`.
    pub(crate) fn error(&self, words: &str) -> Error {
        let [(sent, toml)] = self.keys[..] else {
            let keys: Vec<String> = self.keys.iter().map(|(sent, toml)| named(sent, toml)).collect();
            let first = self.keys[0].1;
            return Error::config(format!(
                "the server answers only without {}: remove these from plugins.toml, or choose values that it takes \
                 (`encoding = \"none\"` leaves the encoding out); it said: {words}",
                keys.join(", ")
            ))
            .key(first);
        };
        let told = match self.encoding {
            Some(Encoding::Float) => {
                "the server sends no vectors in base64: set `encoding = \"float\"` in plugins.toml".to_owned()
            }
            Some(_) => format!("the server refuses the key `{sent}`: set `encoding = \"none\"` in plugins.toml"),
            None => format!(
                "the server refuses {}: remove it from plugins.toml, or choose a value that the model takes",
                named(sent, toml)
            ),
        };
        Error::config(format!("{told}; it said: {words}")).key(toml)
    }
}

/// A key, with the name that it has on its way.
fn named(sent: &str, toml: &str) -> String {
    if sent == toml { format!("`{toml}`") } else { format!("`{toml}` (sent as `{sent}`)") }
}

/// True if a request has this key, or each part of it.
fn holds(body: &Value, key: &str) -> bool {
    body.get(key).is_some() || body.pointer(&format!("/requests/0/{key}")).is_some()
}

fn without(body: &Value, keys: &[Spare]) -> Value {
    let mut body = body.clone();
    let drop_from = |object: &mut Value| {
        if let Some(object) = object.as_object_mut() {
            keys.iter().for_each(|(sent, _)| drop(object.remove(*sent)));
        }
    };
    drop_from(&mut body);
    if let Some(parts) = body.get_mut("requests").and_then(Value::as_array_mut) {
        parts.iter_mut().for_each(drop_from);
    }
    body
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const SPARE: [Spare; 2] = [("encoding_format", "encoding"), ("output_dimension", "dimensions")];

    #[test]
    fn keys_are_left_out_the_likeliest_first() {
        let body = json!({"input": ["a"], "encoding_format": "base64", "output_dimension": 8});
        let bodies = |encoding, words| {
            probes(&body, &SPARE, encoding, words).into_iter().map(|probe| probe.body).collect::<Vec<_>>()
        };
        let float = json!({"input": ["a"], "encoding_format": "float", "output_dimension": 8});
        let unsaid = json!({"input": ["a"], "output_dimension": 8});
        let no_dimensions = json!({"input": ["a"], "encoding_format": "base64"});
        let least = json!({"input": ["a"]});
        assert_eq!(bodies(Encoding::Base64, "no"), [float, unsaid.clone(), no_dimensions.clone(), least.clone()]);
        assert_eq!(bodies(Encoding::Float, "output_dimension: no"), [no_dimensions, unsaid, least.clone()]);
        assert_eq!(probes(&least, &SPARE, Encoding::Base64, "").len(), 0);
        let nested = json!({"requests": [{"taskType": "x", "a": 1}, {"taskType": "x"}]});
        let probes = probes(&nested, &[("taskType", "input_type")], Encoding::Base64, "");
        assert_eq!(probes[0].body, json!({"requests": [{"a": 1}, {}]}));
    }

    #[test]
    fn numbers_are_asked_for_instead_of_base64() {
        let bodies = |body: &Value| as_numbers(body, &SPARE);
        let [base64, float] = ["base64", "float"].map(|word| json!({"input": ["a"], "encoding_format": word}));
        let unsaid = json!({"input": ["a"]});
        assert_eq!(bodies(&base64), [float.clone(), unsaid.clone()]);
        assert_eq!(bodies(&float), vec![unsaid.clone()]);
        assert_eq!(bodies(&unsaid), [float]);
        assert_eq!(as_numbers(&unsaid, &[("dimensions", "dimensions")]), Vec::<Value>::new());
    }

    #[test]
    fn the_advice_names_the_key_of_plugins_toml() {
        let body = json!({"encoding_format": "base64", "output_dimension": 8});
        let errors: Vec<(String, Option<String>)> = probes(&body, &SPARE, Encoding::Base64, "")
            .iter()
            .map(|probe| probe.error("400: no"))
            .map(|error| (error.message, error.key))
            .collect();
        let advice = [
            ("set `encoding = \"float\"`", "encoding"),
            ("refuses the key `encoding_format`: set `encoding = \"none\"`", "encoding"),
            ("refuses `dimensions` (sent as `output_dimension`): remove it", "dimensions"),
            ("only without `encoding` (sent as `encoding_format`), `dimensions`", "encoding"),
        ];
        assert_eq!(errors.len(), advice.len());
        for ((message, key), (words, wanted)) in errors.iter().zip(advice) {
            assert!(message.contains(words) && message.ends_with("; it said: 400: no"), "{message}");
            assert_eq!(key.as_deref(), Some(wanted));
        }
    }
}
