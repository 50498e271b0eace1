//! A URL of the API, and the place of the key.

/// The destination of requests.
pub(crate) struct Endpoint {
    /// The path after the base URL.
    pub(crate) path: String,
    /// The header with the key, and the text before the key in it.
    pub(crate) key: (String, String),
}

impl Endpoint {
    /// With `Authorization: Bearer KEY`.
    pub(crate) fn bearer(path: impl Into<String>) -> Self {
        Self { path: path.into(), key: ("authorization".to_owned(), "Bearer ".to_owned()) }
    }
}
