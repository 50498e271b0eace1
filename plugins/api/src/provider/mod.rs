//! The wire formats, one a file; a new one is a file, a line in each of the three lists here, and nothing else.

mod cohere;
mod gemini;
mod http;
mod jina;
mod ollama;
mod openai;
mod tei;
mod voyage;

use fusemix_sdk::{Error, Options};
use serde_json::Value;

use crate::answer::{Answer, BadAnswer};
use crate::client::{Client, Endpoint};
use crate::input::Input;
use crate::settings::Settings;

/// An embedding API: how it is asked, and how it answers.
pub(crate) trait Provider: Send + Sync {
    /// Where it is, unless plugins.toml says so.
    fn base(&self) -> Option<&str>;

    /// What a request may hold.
    fn limits(&self) -> Most;

    fn endpoint(&self) -> Endpoint;

    /// A request for the vectors of `inputs`.
    fn body(&self, inputs: &[&Input]) -> Value;

    /// The vectors of an answer, in the order of the inputs.
    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer>;

    /// Asks the server what is to be known of it.
    fn greet(&mut self, _client: &Client) -> Result<(), Error> {
        Ok(())
    }

    /// What latents depend on beside the settings that all have.
    fn fingerprint(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Whether that tells the model's files, so that it does not matter which server has them.
    fn is_identified(&self) -> bool {
        false
    }

    /// The pixels of an image that count as a token, as the provider documents it.
    fn pixels_per_token(&self) -> Option<f64> {
        None
    }
}

/// The most that a request may hold, as the provider documents it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// Unless plugins.toml says otherwise.
    pub(crate) items: usize,
    /// Whether the provider takes no more of them, whatever plugins.toml says.
    pub(crate) is_strict: bool,
    pub(crate) bytes: Option<u64>,
    pub(crate) tokens: Option<u64>,
}

/// What holds for a provider before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// The variable with the key.
    pub(crate) key_env: Option<&'static str>,
    pub(crate) modalities: &'static [&'static str],
    pub(crate) needs_model: bool,
}

pub(crate) const NAMES: [&str; 8] = ["openai", "cohere", "voyage", "jina", "gemini", "tei", "ollama", "http"];

pub(crate) fn defaults(name: &str) -> Defaults {
    let own = |key_env, modalities| Defaults { key_env: Some(key_env), modalities, needs_model: true };
    match name {
        "openai" => own("OPENAI_API_KEY", &["text", "image", "audio"]),
        "cohere" => own("CO_API_KEY", &["text", "image"]),
        "voyage" => own("VOYAGE_API_KEY", &["text", "image"]),
        "jina" => own("JINA_API_KEY", &["text", "image"]),
        "gemini" => own("GEMINI_API_KEY", &["text"]),
        "ollama" => Defaults { key_env: None, modalities: &["text"], needs_model: true },
        "tei" => Defaults { key_env: None, modalities: &["text"], needs_model: false },
        _ => Defaults { key_env: None, modalities: &["text", "image", "audio"], needs_model: false },
    }
}

pub(crate) fn open(settings: &Settings, options: &Options) -> Result<Box<dyn Provider>, Error> {
    Ok(match settings.provider.as_str() {
        "openai" => Box::new(openai::OpenAi::open(settings, options)?),
        "cohere" => Box::new(cohere::Cohere::open(settings)?),
        "voyage" => Box::new(voyage::Voyage::open(settings)),
        "jina" => Box::new(jina::Jina::open(settings)),
        "gemini" => Box::new(gemini::Gemini::open(settings)?),
        "tei" => Box::new(tei::Tei::open(settings)),
        "ollama" => Box::new(ollama::Ollama::open(settings)),
        _ => Box::new(http::Http::open(settings, options)?),
    })
}

/// Puts what is set into a request.
fn set(body: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[key] = value.into();
    }
}
