//! Cohere's embed, version 2.

use fusemix_sdk::Error;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, amount, json};
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::Settings;
use crate::vector::Vector;

pub(super) struct Cohere {
    model: String,
    prompt: String,
    input_type: String,
    dimensions: Option<usize>,
    truncate: Option<bool>,
    images: bool,
}

impl Cohere {
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        let images = settings.modality.name() == "image";
        let input_type = match (&settings.input_type, images) {
            (Some(input_type), _) => input_type.clone(),
            (None, true) => "image".to_owned(),
            (None, false) => {
                return Err(Error::config(
                    "Cohere needs an `input_type`: search_document, search_query, classification or clustering",
                )
                .key("input_type"));
            }
        };
        Ok(Self {
            model: settings.model.clone(),
            prompt: settings.prompt.clone().unwrap_or_default(),
            input_type,
            dimensions: settings.dimensions,
            truncate: settings.truncate,
            images,
        })
    }
}

#[derive(Deserialize)]
struct Reply {
    embeddings: Embeddings,
    #[serde(default)]
    meta: Value,
}

#[derive(Deserialize)]
struct Embeddings {
    float: Vec<Vector>,
}

impl Provider for Cohere {
    fn base(&self) -> Option<&str> {
        Some("https://api.cohere.com")
    }

    fn limits(&self) -> Most {
        match self.images {
            true if self.model.contains("v3") => Most { items: 1, is_strict: true, bytes: Some(5 << 20), tokens: None },
            true => Most { items: 96, is_strict: true, bytes: Some(20 << 20), tokens: None },
            false => Most { items: 96, is_strict: true, bytes: Some(20 << 20), tokens: Some(128_000) },
        }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::bearer("/v2/embed")
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let mut body = json!({"model": self.model, "input_type": self.input_type, "embedding_types": ["float"]});
        match self.images {
            // Version 3 takes the one image only in this form.
            true if inputs.len() == 1 => body["images"] = json!([inputs[0].or_uri()]),
            true => {
                let image =
                    |input: &&Input| json!({"content": [{"type": "image_url", "image_url": {"url": input.or_uri()}}]});
                body["inputs"] = inputs.iter().map(image).collect();
            }
            false => body["texts"] = inputs.iter().map(|input| format!("{}{}", self.prompt, input.text())).collect(),
        }
        set(&mut body, "output_dimension", self.dimensions);
        set(&mut body, "truncate", self.truncate.map(|truncate| if truncate { "END" } else { "NONE" }));
        body
    }

    fn spare(&self) -> &'static [Spare] {
        &[("output_dimension", "dimensions"), ("truncate", "truncate")]
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        let Reply { embeddings, meta } = json(body)?;
        let units = [("input_tokens", "tokens"), ("image_tokens", "tokens"), ("images", "images")];
        let mut usage = BTreeMap::new();
        for (theirs, ours) in units {
            if let Some(amount) = meta.pointer(&format!("/billed_units/{theirs}")).and_then(amount) {
                *usage.entry(ours.to_owned()).or_default() += amount;
            }
        }
        Ok(Answer { vectors: embeddings.float, usage, ..Answer::default() })
    }
}
