//! The API's key.

/// An API key: it has no way into a log or an error.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(key: &str) -> Self {
        Self(key.to_owned())
    }

    /// For the one header that it goes into.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without the key, should the provider have repeated it.
    pub(crate) fn redact(&self, text: &str) -> String {
        text.replace(&self.0, "[key]")
    }
}
