//! OpenAI and compatible servers: vLLM, llama.cpp, LM Studio, Infinity with its `modality`, Azure.

use fusemix_sdk::{Error, Options};
use serde_json::{Value, json};

use super::contract::{Most, Provider, Spare, set};
use crate::answer::{Answer, BadAnswer, OpenAiAnswer};
use crate::endpoint::Endpoint;
use crate::input::Input;
use crate::settings::{Encoding, Settings};

pub(super) struct OpenAi {
    model: String,
    prompt: String,
    dimensions: Option<usize>,
    encoding: Encoding,
    /// The modality of items other than texts, as Infinity expects it.
    modality: Option<String>,
    /// The API version of an Azure deployment.
    api_version: Option<String>,
    /// True if it is neither OpenAI nor Azure.
    is_elsewhere: bool,
}

impl OpenAi {
    pub(super) fn open(settings: &Settings, options: &Options) -> Result<Self, Error> {
        let api_version: Option<String> = options.get("api_version")?;
        if api_version.is_some() && settings.base_url.is_none() {
            return Err(Error::config(
                "`api_version` is for Azure: `base_url` must be \
                 https://RESOURCE.openai.azure.com/openai/deployments/NAME",
            )
            .key("api_version"));
        }
        let modality = settings.modality.name().to_owned();
        if modality != "text" && settings.base_url.is_none() {
            return Err(Error::config(format!(
                "OpenAI itself does not embed {modality}; set `base_url`, for example to an Infinity server"
            ))
            .key("modality"));
        }
        Ok(Self {
            model: settings.model.clone(),
            prompt: settings.prompt.clone().unwrap_or_default(),
            dimensions: settings.dimensions,
            encoding: settings.encoding,
            modality: Some(modality).filter(|modality| modality != "text"),
            is_elsewhere: settings.base_url.is_some() && api_version.is_none(),
            api_version,
        })
    }
}

impl Provider for OpenAi {
    fn base(&self) -> Option<&str> {
        Some("https://api.openai.com/v1")
    }

    fn limits(&self) -> Most {
        // Infinity takes 32 files. A server of one's own takes minutes for as many texts as OpenAI takes.
        let items = match (&self.modality, self.is_elsewhere) {
            (Some(_), _) => 32,
            (None, true) => 64,
            (None, false) => 2048,
        };
        // OpenAI takes 300,000, and they are counted by more than one tokenizer.
        Most { items, is_strict: !self.is_elsewhere, bytes: Some(8 << 20), tokens: Some(250_000) }
    }

    fn endpoint(&self) -> Endpoint {
        match &self.api_version {
            Some(version) => Endpoint {
                path: format!("/embeddings?api-version={version}"),
                key: ("api-key".to_owned(), String::new()),
            },
            None => Endpoint::bearer("/embeddings"),
        }
    }

    fn body(&self, inputs: &[&Input]) -> Value {
        let inputs: Vec<String> = match &self.modality {
            Some(_) => inputs.iter().map(|input| input.or_uri()).collect(),
            None => inputs.iter().map(|input| format!("{}{}", self.prompt, input.text())).collect(),
        };
        let mut body = json!({"model": self.model, "input": inputs});
        set(&mut body, "encoding_format", self.encoding.word());
        set(&mut body, "dimensions", self.dimensions);
        set(&mut body, "modality", self.modality.clone());
        body
    }

    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer> {
        let answer = OpenAiAnswer::read(body)?;
        // Azure's deployments have names of their own.
        Ok(Answer { model: answer.model.filter(|_| self.api_version.is_none()), ..answer })
    }

    fn spare(&self) -> &'static [Spare] {
        &[("encoding_format", "encoding"), ("dimensions", "dimensions")]
    }

    fn fingerprint(&self) -> Vec<(&'static str, String)> {
        self.modality.iter().map(|modality| ("modality", modality.clone())).collect()
    }
}
