//! The settings of plugins.toml that do not depend on the provider.

use fusemix_sdk::{Error, Modality, OptionKind, OptionSpec, Options, Price};
use std::path::PathBuf;
use std::time::Duration;

use crate::catalog;
use crate::secret::Secret;

pub(crate) struct Settings {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) modality: Modality,
    /// Values per latent, if requested.
    pub(crate) dimensions: Option<usize>,
    pub(crate) input_type: Option<String>,
    pub(crate) truncate: Option<bool>,
    /// The text put before each item.
    pub(crate) prompt: Option<String>,
    pub(crate) base_url: Option<String>,
    pub(crate) key: Option<Secret>,
    /// The environment variable that the key comes from.
    pub(crate) key_env: Option<String>,
    pub(crate) allow_http: bool,
    pub(crate) ca_file: Option<PathBuf>,
    pub(crate) encoding: Encoding,
    pub(crate) tokenizer: Option<PathBuf>,
    pub(crate) max_tokens: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) requests_per_minute: Option<f64>,
    pub(crate) tokens_per_minute: Option<f64>,
    pub(crate) price: Option<Price>,
    /// The pixels of an image per token.
    pub(crate) pixels_per_token: Option<f64>,
    pub(crate) request_timeout: Duration,
    pub(crate) connect_timeout: Duration,
    pub(crate) retries: u32,
    pub(crate) backoff: Duration,
}

/// The form in which vectors are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Base64,
    Float,
    /// The provider's own: it is not asked for any.
    Unsaid,
}

impl Encoding {
    /// The provider's word for it, to be sent.
    pub(crate) fn word(self) -> Option<&'static str> {
        match self {
            Self::Base64 => Some("base64"),
            Self::Float => Some("float"),
            Self::Unsaid => None,
        }
    }
}

/// All keys, including those of single providers.
pub(crate) fn options() -> Vec<OptionSpec> {
    use OptionKind::{Any, Boolean, Integer, Number, Text};
    let providers: Vec<&str> = catalog::NAMES.to_vec();
    vec![
        OptionSpec::new("provider", Text, "the provider, which sets the wire format").required().choices(&providers),
        OptionSpec::new("model", Text, "the model's name at the provider"),
        OptionSpec::new("modality", Text, "text (default), image or audio"),
        OptionSpec::new("dimensions", Integer, "values per latent; sent only if set"),
        OptionSpec::new("input_type", Text, "the provider's input_type, task, taskType or prompt_name"),
        OptionSpec::new("truncate", Boolean, "let the provider truncate long items (default: the provider's own)"),
        OptionSpec::new("prompt", Text, "text put before each item"),
        OptionSpec::new("base_url", Text, "URL of the API (default: the provider's own)"),
        OptionSpec::new(
            "api_key_env",
            Text,
            "the environment variable with the key (default: the provider's, if base_url is not set)",
        ),
        OptionSpec::new("allow_http", Boolean, "send the key without TLS to a remote host (default: false)"),
        OptionSpec::new("ca_file", Text, "a PEM file with a certificate to trust in addition to the system's"),
        OptionSpec::new(
            "encoding",
            Text,
            "encoding of the vectors, where the provider offers both (default: base64); none to ask for neither",
        )
        .choices(&["base64", "float", "none"]),
        OptionSpec::new(
            "tokenizer",
            Text,
            "a tokenizer.json to count tokens with (default: the model's, or an estimate)",
        ),
        OptionSpec::new("max_tokens", Integer, "most tokens per request (default: the provider's own limit)"),
        OptionSpec::new("max_bytes", Integer, "most bytes per request (default: the provider's own limit)"),
        OptionSpec::new("requests_per_minute", Number, "most requests sent per minute"),
        OptionSpec::new("tokens_per_minute", Number, "most tokens sent per minute"),
        OptionSpec::new("price_per_million_tokens", Number, "price of a million tokens, for --dry-run and --max-cost"),
        OptionSpec::new("price_per_item", Number, "price of an item"),
        OptionSpec::new("pixels_per_token", Number, "images: pixels per token (default: the provider's own)"),
        OptionSpec::new("request_timeout", Number, "seconds to wait for an answer (default: 60)"),
        OptionSpec::new("connect_timeout", Number, "seconds to wait for a connection (default: 10)"),
        OptionSpec::new("retries", Integer, "retries of a request that may still succeed (default: 8)"),
        OptionSpec::new("backoff", Number, "seconds before the first retry, doubling up to 60 (default: 0.5)"),
        OptionSpec::new("api_version", Text, "openai: API version of the Azure deployment at base_url"),
        OptionSpec::new("path", Text, "http: path appended to base_url"),
        OptionSpec::new("body", Any, "http: the request, with \"{inputs}\", or \"{input}\" for one item per request"),
        OptionSpec::new(
            "vectors",
            Text,
            "http: JSON pointer to the vectors, with * for each item, such as /data/*/embedding",
        ),
        OptionSpec::new("tokens", Text, "http: JSON pointer to the number of tokens used"),
        OptionSpec::new("key_header", Text, "http: the header with the key (default: authorization)"),
        OptionSpec::new("key_prefix", Text, "http: text before the key (default: \"Bearer \")"),
    ]
}

impl Settings {
    pub(crate) fn read(options: &Options) -> Result<Self, Error> {
        let provider: String = options.need("provider")?;
        let defaults = catalog::defaults(&provider);
        let above_zero = |key: &str| match options.get::<f64>(key)? {
            Some(value) if !(value > 0.0 && value.is_finite()) => {
                Err(Error::config(format!("`{key} = {value}` must be above 0; change it in plugins.toml")).key(key))
            }
            value => Ok(value),
        };
        let count = |key: &str| match options.get::<i64>(key)? {
            Some(value) if value < 1 => {
                Err(Error::config(format!("`{key} = {value}` must be at least 1; change it in plugins.toml")).key(key))
            }
            value => Ok(value.map(|value| value as u64)),
        };
        let price = |key: &str| match options.get::<f64>(key)? {
            Some(value) if !(value >= 0.0 && value.is_finite()) => {
                Err(Error::config(format!("`{key} = {value}` must be 0 or more; change it in plugins.toml")).key(key))
            }
            value => Ok(value),
        };
        let seconds = |key: &str, default: f64| -> Result<Duration, Error> {
            Ok(Duration::from_secs_f64(above_zero(key)?.unwrap_or(default).min(1e6)))
        };
        let prices = (price("price_per_million_tokens")?, price("price_per_item")?);
        let price = match prices {
            (None, None) => None,
            (million_tokens, item) => Some(Price::new(million_tokens.unwrap_or(0.0), item.unwrap_or(0.0))),
        };
        let base_url = options.get::<String>("base_url")?.map(|url| url.trim_end_matches('/').to_owned());
        let given: Option<String> = options.get("api_key_env")?;
        // The provider's own key goes to the provider, not to whoever speaks its language.
        let own = defaults.key_env.filter(|_| base_url.is_none()).map(str::to_owned);
        let key_env = given.clone().or(own);
        let key = key_env.as_ref().and_then(|name| std::env::var(name).ok()).filter(|key| !key.trim().is_empty());
        let is_name = |name: &String| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !key_env.iter().all(is_name) {
            // Perhaps it is the key itself: it is not shown.
            return Err(Error::config(
                "`api_key_env` must be the name of an environment variable, such as OPENAI_API_KEY; the key itself \
                 does not belong in plugins.toml",
            )
            .key("api_key_env"));
        }
        let modality = options.get_or("modality", Modality::Text)?;
        if !defaults.modalities.contains(&modality.name()) {
            return Err(Error::config(format!(
                "provider `{provider}` takes {}, not `modality = \"{modality}\"`",
                defaults.modalities.join(" or ")
            ))
            .key("modality"));
        }
        let model: Option<String> = options.get("model")?;
        let model = match model {
            None if defaults.needs_model => {
                return Err(Error::config(format!("provider `{provider}` needs a `model`; add it in plugins.toml"))
                    .key("model"));
            }
            model => model.unwrap_or_default(),
        };
        Ok(Self {
            model,
            modality,
            dimensions: count("dimensions")?.map(|dimensions| dimensions as usize),
            input_type: options.get("input_type")?,
            truncate: options.get("truncate")?,
            prompt: options.get("prompt")?,
            base_url,
            key: key.map(|key| Secret::new(key.trim())),
            key_env,
            allow_http: options.get_or("allow_http", false)?,
            ca_file: options.get::<String>("ca_file")?.map(|path| options.resolve(&path)),
            encoding: match options.get::<String>("encoding")?.as_deref() {
                Some("float") => Encoding::Float,
                Some("none") => Encoding::Unsaid,
                _ => Encoding::Base64,
            },
            tokenizer: options.get::<String>("tokenizer")?.map(|path| options.resolve(&path)),
            max_tokens: count("max_tokens")?,
            max_bytes: count("max_bytes")?,
            requests_per_minute: above_zero("requests_per_minute")?,
            tokens_per_minute: above_zero("tokens_per_minute")?,
            price,
            pixels_per_token: above_zero("pixels_per_token")?,
            request_timeout: seconds("request_timeout", 60.0)?,
            connect_timeout: seconds("connect_timeout", 10.0)?,
            retries: options.get_or("retries", 8)?,
            backoff: seconds("backoff", 0.5)?,
            provider,
        })
    }

    /// True if the key is part of `text`.
    pub(crate) fn holds_key(&self, text: &str) -> bool {
        self.key.as_ref().is_some_and(|key| text.contains(key.expose()))
    }

    /// The properties that latents depend on with any provider.
    pub(crate) fn fingerprint(&self) -> Vec<(&'static str, String)> {
        let text = |value: Option<String>| value.unwrap_or_else(|| "default".to_owned());
        vec![
            ("provider", self.provider.clone()),
            ("model", self.model.clone()),
            ("dimensions", text(self.dimensions.map(|dimensions| dimensions.to_string()))),
            ("input_type", text(self.input_type.clone())),
            ("truncate", text(self.truncate.map(|truncate| truncate.to_string()))),
            ("prompt", self.prompt.clone().unwrap_or_default()),
        ]
    }
}
