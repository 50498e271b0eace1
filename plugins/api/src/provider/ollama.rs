//! Ollama's own route.

use fusemix_sdk::Error;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, amount, json};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::Settings;
use crate::vector::Vector;

pub(super) struct Ollama {
    model: String,
    prompt: String,
    dimensions: Option<usize>,
    truncate: Option<bool>,
    /// The digest of the model's files.
    digest: String,
}

impl Ollama {
    pub(super) fn open(settings: &Settings) -> Self {
        Self {
            model: settings.model.clone(),
            prompt: settings.prompt.clone().unwrap_or_default(),
            dimensions: settings.dimensions,
            truncate: settings.truncate,
            digest: String::new(),
        }
    }
}

/// The installed models.
#[derive(Deserialize)]
struct Tags {
    models: Vec<Tag>,
}

#[derive(Deserialize)]
struct Tag {
    name: String,
    digest: String,
}

#[derive(Deserialize)]
struct Reply {
    embeddings: Vec<Vector>,
    #[serde(default)]
    prompt_eval_count: Value,
}

impl Provider for Ollama {
    fn base(&self) -> Option<&str> {
        Some("http://localhost:11434")
    }

    fn limits(&self) -> Most {
        Most { items: 128, is_strict: false, bytes: Some(8 << 20), tokens: None }
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

    fn spare(&self) -> &'static [Spare] {
        &[("dimensions", "dimensions"), ("truncate", "truncate")]
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        let Reply { embeddings, prompt_eval_count } = json(body)?;
        let tokens = amount(&prompt_eval_count);
        let usage: BTreeMap<_, _> = tokens.map(|tokens| ("tokens".to_owned(), tokens)).into_iter().collect();
        Ok(Answer { vectors: embeddings, usage, ..Answer::default() })
    }

    fn greet(&mut self, client: &Client) -> Result<(), Error> {
        let place = client.address();
        let told = client.get(&Endpoint::bearer("/api/tags"));
        let told = told.map_err(|reason| Error::new(format!("cannot list the models of {place}: {reason}")))?;
        let Tags { models } = serde_json::from_slice(&told)
            .map_err(|error| Error::new(format!("cannot parse the list of models of {place}: {error}")))?;
        let names = [self.model.clone(), format!("{}:latest", self.model)];
        let Some(tag) = models.iter().find(|tag| names.contains(&tag.name)) else {
            let names: Vec<&str> = models.iter().map(|tag| tag.name.as_str()).collect();
            return Err(Error::config(format!(
                "{place} has no model `{}`: run `ollama pull {0}`, or choose one of: {}",
                self.model,
                names.join(", ")
            ))
            .key("model"));
        };
        self.digest = tag.digest.clone();
        Ok(())
    }

    fn fingerprint(&self) -> Vec<(&'static str, String)> {
        vec![("digest", self.digest.clone())]
    }

    fn is_identified(&self) -> bool {
        true
    }
}
