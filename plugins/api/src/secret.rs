//! The API's key.

use serde_json::Value;

/// What stands for the key.
const HIDDEN: &str = "[key]";

/// An API key, which cannot get into a log or an error.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// The key for its header, the only place where it is sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the key, in case the provider repeated it: as it is, in JSON, or in a URL.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.forms().iter().fold(text.to_owned(), |text, form| text.replace(form, HIDDEN))
    }

    /// The key as it is, in JSON with and without escaped slashes, and in a URL with digits of either case.
    fn forms(&self) -> Vec<String> {
        let json = Value::from(self.0.as_str()).to_string();
        let json = json.trim_matches('"').to_owned();
        let [upper, lower] =
            [true, false].map(|upper| self.0.bytes().map(|byte| percent(byte, upper)).collect::<String>());
        let mut forms = vec![self.0.clone(), json.replace('/', "\\/"), json, upper, lower];
        forms.dedup();
        forms
    }

    /// An answer without the key, however its JSON writes it.
    pub(crate) fn clean(&self, body: Vec<u8>) -> Vec<u8> {
        let is_there = |form: &String| memchr::memmem::find(&body, form.as_bytes()).is_some();
        // Without an escape, JSON has no other forms.
        let is_escaped = memchr::memchr(b'\\', &body).is_some();
        if !is_escaped && !self.forms().iter().any(is_there) {
            return body;
        }
        let Ok(mut json) = serde_json::from_slice::<Value>(&body) else {
            return self.redact(&String::from_utf8_lossy(&body)).into_bytes();
        };
        match self.hide(&mut json) {
            true => json.to_string().into_bytes(),
            false => body,
        }
    }

    /// Hides the key in all texts of `json`; true if it was there.
    fn hide(&self, json: &mut Value) -> bool {
        let hidden = |text: &str| Some(self.redact(text)).filter(|clean| clean != text);
        match json {
            Value::String(text) => hidden(text).map(|clean| *text = clean).is_some(),
            Value::Array(values) => values.iter_mut().fold(false, |found, value| self.hide(value) | found),
            Value::Object(fields) => {
                let mut found = fields.values_mut().fold(false, |found, value| self.hide(value) | found);
                let keys: Vec<String> = fields.keys().cloned().collect();
                for (key, clean) in keys.into_iter().filter_map(|key| Some((hidden(&key)?, key))) {
                    let value = fields.remove(&clean).unwrap_or_default();
                    fields.insert(key, value);
                    found = true;
                }
                found
            }
            _ => false,
        }
    }
}

/// A byte as a URL has it, with hexadecimal digits of either case.
fn percent(byte: u8, upper: bool) -> String {
    match (byte.is_ascii_alphanumeric() || b"-._~".contains(&byte), upper) {
        (true, _) => char::from(byte).to_string(),
        (false, true) => format!("%{byte:02X}"),
        (false, false) => format!("%{byte:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_hidden_however_it_is_written() {
        let secret = Secret::new("sk-A/b\"c+1");
        let written = [
            r#"{"error":{"message":"wrong key sk-A/b\"c+1"}}"#,
            r#"{"error":"wrong key sk-A\/b\"c+1"}"#,
            r#"{"model":"\u0073k-A/b\"c+1","data":[[1,2]]}"#,
            r#"{"a":{"sk-A/b\"c+1":["sk-A/b\"c+1"]}}"#,
            r#"{"detail":"{\"key\": \"sk-A/b\\\"c+1\"}"}"#,
            r#"wrong key sk-A/b"c+1, see https://host/?key=sk-A%2Fb%22c%2B1"#,
            r#"at https://host/?key=sk-A%2fb%22c%2b1"#,
            r#"{"cut": "sk-A\/b\"c+1"#,
        ];
        for body in written {
            let clean = String::from_utf8(secret.clean(body.as_bytes().to_vec())).unwrap();
            assert!(
                clean.contains(HIDDEN) && !clean.contains("c+1") && !clean.to_lowercase().contains("c%2b1"),
                "{clean}"
            );
        }
        for body in [r#"{"data":"a\/b+="}"#, "no key"] {
            assert_eq!(secret.clean(body.as_bytes().to_vec()), body.as_bytes());
        }
    }
}
