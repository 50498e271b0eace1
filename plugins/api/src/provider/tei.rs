//! Hugging Face's text-embeddings-inference: its own route, with the limits that it reports.

use fusemix_sdk::Error;
use serde::Deserialize;
use serde_json::{Value, json};

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, json};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::Settings;

pub(super) struct Tei {
    prompt: String,
    prompt_name: Option<String>,
    dimensions: Option<usize>,
    truncate: bool,
    /// The model in plugins.toml; the server serves one.
    model: String,
    info: Info,
}

#[derive(Default, Deserialize)]
struct Info {
    #[serde(default)]
    model_id: String,
    #[serde(default)]
    model_sha: Option<String>,
    #[serde(default)]
    model_dtype: String,
    /// With the pooling.
    #[serde(default)]
    model_type: Value,
    #[serde(default)]
    max_client_batch_size: Option<usize>,
    #[serde(default)]
    max_batch_tokens: Option<u64>,
}

impl Tei {
    pub(super) fn open(settings: &Settings) -> Self {
        Self {
            prompt: settings.prompt.clone().unwrap_or_default(),
            prompt_name: settings.input_type.clone(),
            dimensions: settings.dimensions,
            truncate: settings.truncate.unwrap_or(false),
            model: settings.model.clone(),
            info: Info::default(),
        }
    }
}

impl Provider for Tei {
    fn base(&self) -> Option<&str> {
        None
    }

    fn limits(&self) -> Most {
        let items = self.info.max_client_batch_size.unwrap_or(32).max(1);
        Most { items, is_strict: true, bytes: Some(2 << 20), tokens: self.info.max_batch_tokens }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::bearer("/embed")
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let inputs: Vec<String> = inputs.iter().map(|input| format!("{}{}", self.prompt, input.text())).collect();
        let mut body = json!({"inputs": inputs, "truncate": self.truncate});
        set(&mut body, "prompt_name", self.prompt_name.clone());
        set(&mut body, "dimensions", self.dimensions);
        body
    }

    fn spare(&self) -> &'static [Spare] {
        &[("prompt_name", "input_type"), ("dimensions", "dimensions")]
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        Ok(Answer { vectors: json(body)?, ..Answer::default() })
    }

    fn greet(&mut self, client: &Client) -> Result<(), Error> {
        let told = client.get(&Endpoint::bearer("/info"));
        let told =
            told.map_err(|reason| Error::new(format!("cannot ask {} for its limits: {reason}", client.address())))?;
        self.info = serde_json::from_slice(&told)
            .map_err(|error| Error::new(format!("cannot parse the description of {}: {error}", client.address())))?;
        if !self.model.is_empty() && self.model != self.info.model_id {
            return Err(Error::config(format!(
                "the server has model `{}`, but plugins.toml asks for `model = \"{}\"`",
                self.info.model_id, self.model
            ))
            .key("model"));
        }
        Ok(())
    }

    fn fingerprint(&self) -> Vec<(&'static str, String)> {
        let Info { model_id, model_sha, model_dtype, model_type, .. } = &self.info;
        vec![
            ("model", model_id.clone()),
            ("revision", model_sha.clone().unwrap_or_default()),
            ("dtype", model_dtype.clone()),
            ("type", model_type.to_string()),
            ("normalize", "true".to_owned()),
        ]
    }

    fn is_identified(&self) -> bool {
        self.info.model_sha.is_some()
    }
}
