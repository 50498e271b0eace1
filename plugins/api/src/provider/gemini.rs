//! Gemini's batchEmbedContents.

use fusemix_sdk::Error;
use serde::Deserialize;
use serde_json::{Value, json};

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, Row, json, vectors};
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::Settings;

pub(super) struct Gemini {
    model: String,
    prompt: String,
    task: Option<String>,
    dimensions: Option<usize>,
}

impl Gemini {
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        let model = settings.model.trim_start_matches("models/").to_owned();
        if !model.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte)) {
            return Err(Error::config(format!("`model = {model:?}` cannot be part of a URL")).key("model"));
        }
        let (prompt, task) = (settings.prompt.clone().unwrap_or_default(), settings.input_type.clone());
        Ok(Self { model, prompt, task, dimensions: settings.dimensions })
    }
}

#[derive(Deserialize)]
struct Reply {
    embeddings: Vec<Row>,
}

impl Provider for Gemini {
    fn base(&self) -> Option<&str> {
        Some("https://generativelanguage.googleapis.com/v1beta")
    }

    fn limits(&self) -> Most {
        Most { items: 100, is_strict: true, bytes: Some(8 << 20), tokens: None }
    }

    fn endpoint(&self) -> Endpoint {
        let path = format!("/models/{}:batchEmbedContents", self.model);
        // The key may also be part of the address, where logs would find it.
        Endpoint { path, key: ("x-goog-api-key".to_owned(), String::new()) }
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let request = |input: &&Input| {
            let text = format!("{}{}", self.prompt, input.text());
            let model = format!("models/{}", self.model);
            let mut request = json!({"model": model, "content": {"parts": [{"text": text}]}});
            set(&mut request, "taskType", self.task.clone());
            set(&mut request, "outputDimensionality", self.dimensions);
            request
        };
        json!({"requests": inputs.iter().map(request).collect::<Vec<_>>()})
    }

    fn spare(&self) -> &'static [Spare] {
        &[("taskType", "input_type"), ("outputDimensionality", "dimensions")]
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        let Reply { embeddings } = json(body)?;
        Ok(Answer { vectors: vectors(embeddings)?, ..Answer::default() })
    }
}
