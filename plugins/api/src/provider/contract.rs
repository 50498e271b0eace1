//! A provider: how it is asked, and how it answers.

use fusemix_sdk::Error;
use serde_json::Value;

use crate::answer::{Answer, BadAnswer};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::input::Input;

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

/// Puts what is set into a request.
pub(super) fn set(body: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[key] = value.into();
    }
}
