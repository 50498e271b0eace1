//! Any other API: a request from plugins.toml, and pointers into the answer.

use fusemix_sdk::{Error, Options};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

use super::contract::{Most, Provider};
use crate::answer::{Answer, BadAnswer, amount, json};
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::said::refusal_in;
use crate::settings::Settings;
use crate::vector::{Fault, Vector};

/// The placeholders for all inputs of a request, and for the only one.
const ALL: &str = "{inputs}";
const ONE: &str = "{input}";

/// Keys of a body, without signs between their letters, whose texts are secrets.
const SECRETS: [&str; 9] =
    ["apikey", "xapikey", "key", "accesstoken", "authtoken", "secret", "secretkey", "password", "authorization"];
/// The longest word before a key.
const LONGEST_SCHEME: usize = 16;

/// The first key of a body whose text is a secret.
fn secret(body: &Value) -> Option<&str> {
    match body {
        Value::Array(values) => values.iter().find_map(secret),
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let letters = key.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
            match value.as_str() {
                Some(text) if SECRETS.contains(&&*letters) && ![ALL, ONE].contains(&text) => Some(key.as_str()),
                _ => secret(value),
            }
        }),
        _ => None,
    }
}

pub(super) struct Http {
    path: String,
    key: (String, String),
    body: Value,
    prompt: String,
    /// Keys and `*`, from the answer's root to a vector.
    vectors: Vec<String>,
    tokens: Option<String>,
    single: bool,
}

impl Http {
    pub(super) fn open(settings: &Settings, options: &Options) -> Result<Self, Error> {
        let body: Value = options.need("body")?;
        let prefix: Option<String> = options.get("key_prefix")?;
        if let Some(key) = secret(&body) {
            return Err(Error::config(format!(
                "`body` has a `{key}`; what plugins.toml says is noted in the cache and in runs, so put the key into \
                 an environment variable, name that with `api_key_env`, and the header for it with `key_header`"
            ))
            .key("body"));
        }
        let is_word = |prefix: &String| prefix.split_whitespace().count() <= 1 && prefix.len() <= LONGEST_SCHEME;
        if !prefix.iter().all(is_word) {
            return Err(Error::config(
                "`key_prefix` is the word before the key, such as \"Bearer \"; the key itself belongs into an \
                 environment variable, which `api_key_env` names",
            )
            .key("key_prefix"));
        }
        let (all, one) = (count(&body, ALL), count(&body, ONE));
        let single = one == 1;
        if all + one != 1 {
            return Err(Error::config(format!(
                "`body` must contain one placeholder for the items: \"{ALL}\", or \"{ONE}\" for one item per request"
            ))
            .key("body"));
        }
        let vectors: String = options.need("vectors")?;
        if !vectors.is_empty() && !vectors.starts_with('/') {
            return Err(Error::config(format!(
                "`vectors = {vectors:?}` must begin with a slash, such as /data/*/embedding"
            ))
            .key("vectors"));
        }
        let vectors: Vec<String> = vectors.split('/').skip(1).map(str::to_owned).collect();
        if !single && vectors.iter().filter(|key| *key == "*").count() != 1 {
            return Err(Error::config(
                "`vectors` must contain one `*`, which stands for each item, such as /data/*/embedding",
            )
            .key("vectors"));
        }
        let key_header = options.get_or("key_header", "authorization".to_owned())?;
        let usual = if key_header.eq_ignore_ascii_case("authorization") { "Bearer " } else { "" };
        Ok(Self {
            path: options.get_or("path", String::new())?,
            key: (key_header.to_lowercase(), prefix.unwrap_or_else(|| usual.to_owned())),
            body,
            prompt: settings.prompt.clone().unwrap_or_default(),
            vectors,
            tokens: options.get("tokens")?,
            single,
        })
    }

    fn item(&self, input: &Input) -> Value {
        match input {
            Input::Text(text) => format!("{}{text}", self.prompt).into(),
            Input::File { .. } => input.or_uri().into(),
        }
    }
}

/// The number of times that a text occurs in it.
fn count(value: &Value, wanted: &str) -> usize {
    match value {
        Value::String(text) => usize::from(text == wanted),
        Value::Array(values) => values.iter().map(|value| count(value, wanted)).sum(),
        Value::Object(values) => values.values().map(|value| count(value, wanted)).sum(),
        _ => 0,
    }
}

/// Puts `inputs` in place of their placeholder.
fn fill(value: &mut Value, inputs: &[Value]) {
    match value {
        Value::String(text) if text == ALL => *value = Value::Array(inputs.to_vec()),
        Value::String(text) if text == ONE => *value = inputs[0].clone(),
        Value::Array(values) => values.iter_mut().for_each(|value| fill(value, inputs)),
        Value::Object(values) => values.values_mut().for_each(|value| fill(value, inputs)),
        _ => {}
    }
}

/// All values that a path matches, and the items that it does not lead on from as an `Err`.
fn follow<'a>(value: &'a Value, path: &[String], found: &mut Vec<Result<&'a Value, &'a Value>>) {
    let Some((key, rest)) = path.split_first() else { return found.push(Ok(value)) };
    match value {
        Value::Array(values) if key == "*" => {
            for value in values {
                let before = found.len();
                follow(value, rest, found);
                if found.len() == before {
                    found.push(Err(value));
                }
            }
        }
        Value::Array(values) => {
            if let Some(value) = key.parse().ok().and_then(|index: usize| values.get(index)) {
                follow(value, rest, found);
            }
        }
        Value::Object(values) => {
            let key = key.replace("~1", "/").replace("~0", "~");
            if let Some(value) = values.get(&key) {
                follow(value, rest, found);
            }
        }
        _ => {}
    }
}

impl Provider for Http {
    fn base(&self) -> Option<&str> {
        None
    }

    fn limits(&self) -> Most {
        let items = if self.single { 1 } else { 64 };
        Most { items, is_strict: self.single, bytes: Some(8 << 20), tokens: None }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint { path: self.path.clone(), key: self.key.clone() }
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let inputs: Vec<Value> = inputs.iter().map(|input| self.item(input)).collect();
        let mut body = self.body.clone();
        fill(&mut body, &inputs);
        body
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        let answer: Value = json(body)?;
        let mut found = Vec::new();
        follow(&answer, &self.vectors, &mut found);
        let says_nothing = |found: &Result<_, &Value>| found.is_err_and(|item| refusal_in(item).is_none());
        if found.iter().all(says_nothing) {
            let start: String = answer.to_string().chars().take(80).collect();
            let vectors = self.vectors.join("/");
            return Err(BadAnswer::form(format!(
                "`vectors = \"/{vectors}\"` matches nothing in the answer, which begins with {start}"
            )));
        }
        let tokens = self.tokens.as_ref().and_then(|pointer| amount(answer.pointer(pointer)?));
        let usage: BTreeMap<_, _> = tokens.map(|tokens| ("tokens".to_owned(), tokens)).into_iter().collect();
        let vector = |found: Result<&Value, &Value>| match found {
            Ok(value) => Vector::deserialize(value),
            Err(item) => Ok(Vector::fault(refusal_in(item).map_or_else(|| Fault::missing(None), Fault::stated))),
        };
        match found.into_iter().map(vector).collect::<Result<_, _>>() {
            Ok(vectors) => Ok(Answer { vectors, usage, ..Answer::default() }),
            Err(error) => {
                let reason = format!("`vectors` does not lead to a vector: {error}");
                Err(BadAnswer { usage, ..BadAnswer::form(reason) })
            }
        }
    }

    fn fingerprint(&self) -> Vec<(&'static str, String)> {
        vec![("path", self.path.clone()), ("body", self.body.to_string()), ("vectors", self.vectors.join("/"))]
    }
}
