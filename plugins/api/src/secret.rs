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
        let mut text = text.replace(&self.0, HIDDEN);
        let json = Value::from(self.0.as_str()).to_string();
        let json = json.trim_matches('"');
        let url: String = self.0.bytes().map(percent).collect();
        for written in [json, &json.replace('/', "\\/"), &url, &url.to_lowercase()] {
            if written != self.0 {
                text = text.replace(written, HIDDEN);
            }
        }
        text
    }

    /// An answer without the key, however its JSON writes it.
    pub(crate) fn clean(&self, body: Vec<u8>) -> Vec<u8> {
        let has = |bytes: &[u8]| memchr::memmem::find(bytes, self.0.as_bytes()).is_some();
        // Without an escape, only what is written as it is can be it.
        let is_escaped = memchr::memchr(b'\\', &body).is_some();
        if !is_escaped && !has(&body) {
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

fn percent(byte: u8) -> String {
    match byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_hidden_however_it_is_written() {
        let secret = Secret::new("sk-a/b\"c+1");
        let written = [
            r#"{"error":{"message":"wrong key sk-a/b\"c+1"}}"#,
            r#"{"error":"wrong key sk-a\/b\"c+1"}"#,
            r#"{"model":"\u0073k-a/b\"c+1","data":[[1,2]]}"#,
            r#"{"a":{"sk-a/b\"c+1":["sk-a/b\"c+1"]}}"#,
            r#"{"detail":"{\"key\": \"sk-a/b\\\"c+1\"}"}"#,
            r#"wrong key sk-a/b"c+1, see https://host/?key=sk-a%2Fb%22c%2B1"#,
            r#"{"cut": "sk-a\/b\"c+1"#,
        ];
        for body in written {
            let clean = String::from_utf8(secret.clean(body.as_bytes().to_vec())).unwrap();
            assert!(clean.contains(HIDDEN) && !clean.contains("c+1") && !clean.contains("c%2B1"), "{clean}");
        }
        for body in [r#"{"data":"a\/b+="}"#, "no key"] {
            assert_eq!(secret.clean(body.as_bytes().to_vec()), body.as_bytes());
        }
    }
}
