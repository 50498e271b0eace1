//! The providers by name, and the facts about each before it is opened.

/// The facts about a provider before it is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// The environment variable with the key.
    pub(crate) key_env: Option<&'static str>,
    pub(crate) modalities: &'static [&'static str],
    pub(crate) needs_model: bool,
}

/// All providers.
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
