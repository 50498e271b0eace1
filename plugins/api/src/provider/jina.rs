//! Jina: texts, and images through its multimodal models.

use serde_json::{Value, json};

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, OpenAiAnswer};
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::{Encoding, Settings};

pub(super) struct Jina {
    model: String,
    prompt: String,
    task: Option<String>,
    dimensions: Option<usize>,
    truncate: Option<bool>,
    encoding: Encoding,
    images: bool,
}

impl Jina {
    pub(super) fn open(settings: &Settings) -> Self {
        Self {
            model: settings.model.clone(),
            prompt: settings.prompt.clone().unwrap_or_default(),
            task: settings.input_type.clone(),
            dimensions: settings.dimensions,
            truncate: settings.truncate,
            encoding: settings.encoding,
            images: settings.modality.name() == "image",
        }
    }
}

impl Provider for Jina {
    fn base(&self) -> Option<&str> {
        Some("https://api.jina.ai/v1")
    }

    fn limits(&self) -> Most {
        let items = if self.images { 32 } else { 512 };
        Most { items, is_strict: false, bytes: Some(8 << 20), tokens: Some(500_000) }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::bearer("/embeddings")
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let input = |input: &&Input| match input {
            Input::Text(text) => Value::from(format!("{}{text}", self.prompt)),
            Input::File { base64, .. } => json!({"image": base64}),
        };
        let inputs: Vec<Value> = inputs.iter().map(input).collect();
        let mut body = json!({"model": self.model, "input": inputs});
        set(&mut body, "embedding_type", self.encoding.word());
        set(&mut body, "task", self.task.clone());
        set(&mut body, "dimensions", self.dimensions);
        set(&mut body, "truncate", self.truncate);
        body
    }

    fn spare(&self) -> &'static [Spare] {
        &[
            ("embedding_type", "encoding"),
            ("task", "input_type"),
            ("dimensions", "dimensions"),
            ("truncate", "truncate"),
        ]
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        OpenAiAnswer::read(body)
    }
}
