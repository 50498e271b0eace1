//! The API's key.

/// An API key, which cannot get into a log or an error.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// The key for its header, the only place where it is sent.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the key, in case the provider repeated it.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}
