//! The interface of a provider: its requests and its answers.

use fusemix_sdk::Error;
use serde_json::Value;

use crate::answer::{Answer, BadAnswer};
use crate::client::Client;
use crate::endpoint::Endpoint;
use crate::input::Input;

/// An embedding API: its requests and its answers.
pub(crate) trait Provider: Send + Sync {
    /// Its default base URL.
    fn base(&self) -> Option<&str>;

    /// The limits of a request.
    fn limits(&self) -> Most;

    fn endpoint(&self) -> Endpoint;

    /// A request for the vectors of `inputs`.
    fn body(&self, inputs: &[&Input]) -> Value;

    /// The vectors of an answer, in the order of the inputs.
    fn answer(&self, body: &[u8]) -> Result<Answer, BadAnswer>;

    /// The keys of a request that a server may refuse and that can be left out.
    fn spare(&self) -> &'static [Spare] {
        &[]
    }

    /// Asks the server about itself.
    fn greet(&mut self, _client: &Client) -> Result<(), Error> {
        Ok(())
    }

    /// The properties that latents depend on besides the common settings.
    fn fingerprint(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// True if the fingerprint identifies the model's files, so that the server does not matter.
    fn is_identified(&self) -> bool {
        false
    }

    /// The pixels of an image per token, as documented by the provider.
    fn pixels_per_token(&self) -> Option<f64> {
        None
    }
}

/// A key of a request that can be left out, and the key of plugins.toml that it comes from.
pub(crate) type Spare = (&'static str, &'static str);

/// The limits of a request, as documented by the provider.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// The default number of items; plugins.toml may override it.
    pub(crate) items: usize,
    /// True if the provider accepts no more items, regardless of plugins.toml.
    pub(crate) is_strict: bool,
    pub(crate) bytes: Option<u64>,
    pub(crate) tokens: Option<u64>,
}

/// Puts a value into a request, if it is set.
pub(super) fn set(body: &mut Value, key: &str, value: Option<impl Into<Value>>) {
    if let Some(value) = value {
        body[key] = value.into();
    }
}
