//! Voyage: texts, and images through its multimodal models.

use serde_json::{Value, json};

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, OpenAiAnswer};
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::{Encoding, Settings};

pub(super) struct Voyage {
    model: String,
    prompt: String,
    input_type: Option<String>,
    dimensions: Option<usize>,
    truncate: Option<bool>,
    base64: bool,
    multimodal: bool,
}

impl Voyage {
    pub(super) fn open(settings: &Settings) -> Self {
        Self {
            model: settings.model.clone(),
            prompt: settings.prompt.clone().unwrap_or_default(),
            input_type: settings.input_type.clone(),
            dimensions: settings.dimensions,
            truncate: settings.truncate,
            base64: settings.encoding == Encoding::Base64,
            // These take texts too, so that both towers may have one model.
            multimodal: settings.modality.name() == "image" || settings.model.contains("multimodal"),
        }
    }
}

impl Provider for Voyage {
    fn base(&self) -> Option<&str> {
        Some("https://api.voyageai.com/v1")
    }

    fn limits(&self) -> Most {
        match self.multimodal {
            true => Most { items: 1000, is_strict: true, bytes: Some(20 << 20), tokens: Some(320_000) },
            false => Most { items: 1000, is_strict: true, bytes: Some(20 << 20), tokens: Some(120_000) },
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::bearer(if self.multimodal { "/multimodalembeddings" } else { "/embeddings" })
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let mut body = json!({"model": self.model});
        if self.multimodal {
            let content = |input: &&Input| match input {
                Input::Text(text) => json!({"type": "text", "text": format!("{}{text}", self.prompt)}),
                Input::File { .. } => json!({"type": "image_base64", "image_base64": input.or_uri()}),
            };
            body["inputs"] = inputs.iter().map(|input| json!({"content": [content(input)]})).collect();
            set(&mut body, "output_encoding", self.base64.then_some("base64"));
        } else {
            body["input"] = inputs.iter().map(|input| format!("{}{}", self.prompt, input.text())).collect();
            set(&mut body, "encoding_format", self.base64.then_some("base64"));
        }
        set(&mut body, "input_type", self.input_type.clone());
        set(&mut body, "output_dimension", self.dimensions);
        set(&mut body, "truncation", self.truncate);
        body
    }

    fn spare(&self) -> &'static [Spare] {
        &[
            ("encoding_format", "encoding"),
            ("output_encoding", "encoding"),
            ("input_type", "input_type"),
            ("output_dimension", "dimensions"),
            ("truncation", "truncate"),
        ]
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        OpenAiAnswer::read(body)
    }

    fn pixels_per_token(&self) -> Option<f64> {
        Some(560.0)
    }
}
