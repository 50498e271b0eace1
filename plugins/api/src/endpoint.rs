//! An address of the API, and where the key goes.

/// Where requests go.
pub(crate) struct Endpoint {
    /// Behind the base address.
    pub(crate) path: String,
    /// The header with the key, and what comes before the key in it.
    pub(crate) key: (String, String),
}

impl Endpoint {
    /// With `Authorization: Bearer KEY`.
    pub(crate) fn bearer(path: impl Into<String>) -> Self {
        Self { path: path.into(), key: ("authorization".to_owned(), "Bearer ".to_owned()) }
    }
}
