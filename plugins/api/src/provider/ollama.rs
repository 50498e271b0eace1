//! Ollama's own route.

use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::{Most, Provider, set};
use crate::answer::{Answer, BadAnswer, Vector, json};
use crate::client::Endpoint;
use crate::input::Input;
use crate::settings::Settings;

pub(super) struct Ollama {
    model: String,
    prompt: String,
    dimensions: Option<usize>,
    truncate: Option<bool>,
}

impl Ollama {
    pub(super) fn open(settings: &Settings) -> Self {
        Self {
            model: settings.model.clone(),
            prompt: settings.prompt.clone().unwrap_or_default(),
            dimensions: settings.dimensions,
            truncate: settings.truncate,
        }
    }
}

#[derive(Deserialize)]
struct Reply {
    embeddings: Vec<Vector>,
    prompt_eval_count: Option<f64>,
}

impl Provider for Ollama {
    fn base(&self) -> Option<&str> {
        Some("http://localhost:11434")
    }

    fn limits(&self) -> Most {
        Most { items: 128, bytes: Some(8 << 20), tokens: None }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::bearer("/api/embed")
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let inputs: Vec<String> = inputs.iter().map(|input| format!("{}{}", self.prompt, input.text())).collect();
        let mut body = json!({"model": self.model, "input": inputs});
        set(&mut body, "dimensions", self.dimensions);
        set(&mut body, "truncate", self.truncate);
        body
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        let Reply { embeddings, prompt_eval_count } = json(body)?;
        let usage: BTreeMap<_, _> = prompt_eval_count.map(|tokens| ("tokens".to_owned(), tokens)).into_iter().collect();
        Ok(Answer { vectors: embeddings.into_iter().map(|vector| vector.0).collect(), usage })
    }
}
