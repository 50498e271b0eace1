//! An opened encoder in the host's types: checked options in, checked rows out.

use abi_stable::sabi_trait::TD_Opaque;
use abi_stable::sabi_types::RMut;
use abi_stable::std_types::{RResult, RSlice, RStr};
use fusemix_sdk::abi::{RawEncoderBox, RawHost_TO, RawItem, RawSink_TO};
use fusemix_sdk::export::OpenRequest;
use fusemix_sdk::{Description, Error, ErrorKind, Item, OptionKind, OptionSpec, Options, Size};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::intake::{Deliver, Intake};
use super::isolated::IsolatedEncoder;
use super::load::LoadError;
use super::loaded::Plugin;
use super::permits::{Permit, Permits};
use super::services::Services;
use crate::config::{ConfigError, EncoderEntry, HOST_KEYS, TomlFile};
use crate::wording::suggest;

/// The wait for an encoder to open, or to measure items, between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(100);

/// An encoder of plugins.toml, ready to encode.
pub struct LoadedEncoder {
    /// Its name in plugins.toml.
    pub name: String,
    /// Its description, with `batch` and `concurrency` from plugins.toml.
    pub description: Description,
    /// The description's fingerprint with the plugin's name in it.
    pub fingerprint: BTreeMap<String, String>,
    /// Its table of plugins.toml, with its model pinned, and without secrets and the keys that say how fast.
    pub entry: toml::Table,
    /// The time limit of a call.
    pub time_limit: Duration,
    /// The time for which items that fail for a passing reason are tried again.
    pub retry_limit: Duration,
    plugin: Plugin,
    /// plugins.toml, and its entry there.
    written: (TomlFile, EncoderEntry),
    lacks_price: bool,
    services: Services,
    permits: Permits,
    raw: Arc<RawEncoderBox>,
    isolated: Option<IsolatedEncoder>,
}

/// The reason why an encoder cannot be opened, or why its call failed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EncoderError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Plugin(#[from] LoadError),
    #[error("{place}: cannot open encoder `{encoder}`: {cause}")]
    Open { place: String, encoder: String, cause: Error },
    #[error(
        "encoder `{encoder}` did not open within {limit:?}; raise its `timeout` in plugins.toml if it needs longer"
    )]
    OpenHang { encoder: String, limit: Duration },
    #[error(
        "encoder `{encoder}` did not answer within {limit:?}; raise its `timeout` in plugins.toml if it needs longer"
    )]
    Hang { encoder: String, limit: Duration },
    #[error("encoder `{encoder}` returned latents of {got} values, not {expected}{}", if *described {
        ", contrary to its description; tell the plugin's author"
    } else {
        ": its model is not the one that made the latents in the cache; restore that model, or use another folder \
         with --cache"
    })]
    Width { encoder: String, expected: usize, got: usize, described: bool },
    #[error(
        "encoder `{encoder}` returned latents of {expected} values at first, but only of {got} since; latents removed \
         from the cache: {dropped}; run this again"
    )]
    FirstWidth { encoder: String, expected: usize, got: usize, dropped: u64 },
    #[error(
        "encoder `{encoder}`: nothing has worked for {limit:?}: {reason}; run this again later, or raise \
         `retry_seconds` in plugins.toml"
    )]
    Passing { encoder: String, limit: Duration, reason: String },
    #[error("{}encoder `{encoder}`: {cause}", place.as_ref().map_or(String::new(), |place| format!("{place}: ")))]
    Call { place: Option<String>, encoder: String, cause: Error },
    #[error("encoder `{encoder}` broke the plugin interface: {reason}; tell the plugin's author")]
    Protocol { encoder: String, reason: String },
}

impl EncoderError {
    /// The encoder, if the error is not about its plugin or plugins.toml.
    pub fn encoder(&self) -> Option<&str> {
        match self {
            Self::Config(_) | Self::Plugin(_) => None,
            Self::Open { encoder, .. }
            | Self::OpenHang { encoder, .. }
            | Self::Hang { encoder, .. }
            | Self::Width { encoder, .. }
            | Self::FirstWidth { encoder, .. }
            | Self::Passing { encoder, .. }
            | Self::Call { encoder, .. }
            | Self::Protocol { encoder, .. } => Some(encoder),
        }
    }

    /// The kind of the plugin's own error, if it returned one.
    pub fn kind(&self) -> Option<ErrorKind> {
        match self {
            Self::Open { cause, .. } | Self::Call { cause, .. } => Some(cause.kind),
            _ => None,
        }
    }
}

impl LoadedEncoder {
    /// Opens the encoder that `entry` describes, on a thread of its own, which is abandoned if it hangs. Reporting a
    /// status, such as a download, resets the time limit; `watch` receives it.
    pub(super) fn open(
        plugin: &Plugin,
        entry: &EncoderEntry,
        file: &TomlFile,
        services: &Services,
        watch: &mut dyn FnMut(&str),
    ) -> Result<Self, EncoderError> {
        check_options(entry, &plugin.info.options, file)?;
        let protocol = |reason: String| EncoderError::Protocol { encoder: entry.name.clone(), reason };
        let request = OpenRequest {
            encoder: entry.name.clone(),
            options: options(entry, file).map_err(|error| protocol(error.to_string()))?,
            log_level: tracing::level_filters::LevelFilter::current().to_string(),
        };
        let request = serde_json::to_string(&request).map_err(|error| protocol(error.to_string()))?;
        let services = services.another();
        let host = RawHost_TO::from_value(services.for_plugin(&plugin.info.name), TD_Opaque);
        let (answer, opened) = channel();
        let limit = entry.host.time_limit(None);
        let opening = plugin.clone();
        std::thread::spawn(move || answer.send(opening.open(&request, host, limit)));
        let failed = |cause: Error| {
            let place = entry.place(file, cause.key.as_deref().unwrap_or_default());
            EncoderError::Open { place, encoder: entry.name.clone(), cause }
        };
        let (mut deadline, mut status) = (Instant::now() + limit, String::new());
        let (raw, isolated) = loop {
            match opened.recv_timeout(TICK) {
                Ok(Ok(opened)) => break opened,
                Ok(Err(error)) => return Err(failed(sdk_error(&error))),
                Err(RecvTimeoutError::Disconnected) => return Err(protocol("the opening thread died".into())),
                Err(RecvTimeoutError::Timeout) if services.should_stop() => return Err(failed(Error::stopped())),
                Err(RecvTimeoutError::Timeout) => {
                    let now = services.status();
                    if now != status {
                        watch(&now);
                        (deadline, status) = (Instant::now() + limit, now);
                    }
                    if Instant::now() >= deadline {
                        plugin.give_up();
                        return Err(EncoderError::OpenHang { encoder: entry.name.clone(), limit });
                    }
                }
            }
        };
        let in_call = plugin.in_call();
        let described = raw.describe();
        drop(in_call);
        let mut description: Description = serde_json::from_str(&described)
            .map_err(|error| protocol(format!("cannot parse its description: {error}")))?;
        if description.width == Some(0) {
            return Err(protocol("it describes latents of width 0".into()));
        }
        let most = description.limits.items.unwrap_or(usize::MAX).max(1);
        description.batch = entry.host.batch.unwrap_or(description.batch).clamp(1, most);
        description.concurrency = entry.host.concurrency.unwrap_or(description.concurrency).max(1);
        let mut fingerprint = description.fingerprint.clone();
        if fingerprint.is_empty() {
            // The plugin does not say what its latents depend on, so another build of it may give others.
            let digest = plugin.digest().map_err(|error| protocol(format!("cannot read its library: {error}")))?;
            fingerprint.insert("library".into(), digest);
        }
        fingerprint.insert("plugin".into(), plugin.info.name.clone());
        let time_limit = entry.host.time_limit(description.patience);
        let permits = Permits::new(description.concurrency);
        // A plugin with a key for a price is one that may cost something.
        let has_prices = plugin.info.options.iter().any(|option| option.key.starts_with("price"));
        let lacks_price = has_prices && description.price.is_none();
        Ok(Self {
            name: entry.name.clone(),
            entry: recorded(entry, &plugin.info.options, &description),
            description,
            fingerprint,
            plugin: plugin.clone(),
            written: (file.clone(), entry.clone()),
            lacks_price,
            time_limit,
            retry_limit: entry.host.retry_limit(),
            services,
            permits,
            raw: Arc::new(raw),
            isolated,
        })
    }

    /// The version of its plugin.
    pub fn version(&self) -> &str {
        &self.plugin.info.version
    }

    /// Ends its process, if it has one of its own: it hangs, and nobody waits for it any more.
    pub fn give_up(&self) {
        self.plugin.give_up();
    }

    /// Says that it has made latents before: if it crashes, an item is at fault.
    pub fn has_worked(&self) {
        if let Some(isolated) = &self.isolated {
            isolated.has_worked();
        }
    }

    /// The encoder of plugins.toml that it is set up in another way than, and what it differs in; none of most.
    pub fn derived(&self) -> Option<(&str, &toml::Table)> {
        self.written.1.derived.as_ref().map(|derived| (derived.base.as_str(), &derived.changes))
    }

    /// True if it may cost something, and nothing says how much.
    pub fn lacks_price(&self) -> bool {
        self.lacks_price
    }

    /// True if the user asked to stop.
    pub fn should_stop(&self) -> bool {
        self.services.should_stop()
    }

    /// The thing it waits for, if any.
    pub fn status(&self) -> String {
        self.services.status()
    }

    /// Waits until another call may be made: no more run at once than it allows, whoever makes them.
    pub fn permit(&self) -> Permit<'_> {
        self.permits.take()
    }

    /// True if batches or costs depend on the items' sizes.
    pub fn is_measured(&self) -> bool {
        let Description { limits, rate, price, .. } = &self.description;
        limits.bytes.or(limits.tokens).is_some() || rate.tokens.is_some() || price.is_some()
    }

    /// The size of each item; only in bytes if the encoder does not need more. It is asked on a thread of its own,
    /// which is abandoned if it hangs, or once the user asks to stop.
    pub fn measure(&self, items: &[&[u8]]) -> Result<Vec<Size>, EncoderError> {
        if !self.is_measured() {
            return Ok(items.iter().map(|item| Size::new(item.len() as u64, 0)).collect());
        }
        let modality = self.description.modality.name().to_owned();
        let (raw, plugin) = (self.raw.clone(), self.plugin.clone());
        let owned: Vec<Vec<u8>> = items.iter().map(|item| item.to_vec()).collect();
        let (answer, measured) = channel();
        std::thread::spawn(move || {
            let item = |bytes| RawItem { modality: RStr::from_str(&modality), bytes: RSlice::from_slice(bytes) };
            let items: Vec<RawItem<'_>> = owned.iter().map(|bytes| item(bytes.as_slice())).collect();
            let in_call = plugin.in_call();
            let sizes = raw.measure(RSlice::from_slice(&items)).into_result();
            drop(in_call);
            answer.send(sizes)
        });
        let protocol = |reason: String| EncoderError::Protocol { encoder: self.name.clone(), reason };
        let deadline = Instant::now() + self.time_limit;
        // Another process has a limit of its own.
        let hangs = || self.isolated.is_none() && Instant::now() >= deadline;
        let sizes = loop {
            match measured.recv_timeout(TICK) {
                Ok(sizes) => break sizes,
                Err(RecvTimeoutError::Disconnected) => return Err(protocol("the measuring thread died".into())),
                Err(RecvTimeoutError::Timeout) if self.should_stop() => {
                    let cause = Error::stopped();
                    return Err(EncoderError::Call { place: None, encoder: self.name.clone(), cause });
                }
                Err(RecvTimeoutError::Timeout) if hangs() => {
                    return Err(EncoderError::Hang { encoder: self.name.clone(), limit: self.time_limit });
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        let sizes: Vec<Size> = match sizes {
            Ok(json) => {
                serde_json::from_str(&json).map_err(|error| protocol(format!("cannot parse its sizes: {error}")))?
            }
            Err(error) => return Err(self.call_error(&error)),
        };
        match sizes.len() == items.len() {
            true => Ok(sizes),
            false => Err(protocol(format!("wrong number of sizes: {} instead of {}", sizes.len(), items.len()))),
        }
    }

    /// Encodes a batch, whose rows go to `store` as they arrive: each item's outcome once, and all of them if it
    /// succeeds. The caller checks that rows have the described width and finite values.
    pub fn encode(&self, items: &[Item<'_>], store: &mut Deliver<'_>) -> Result<(), EncoderError> {
        let raw_items: Vec<RawItem<'_>> = items
            .iter()
            .map(|item| RawItem { modality: RStr::from_str(item.modality), bytes: RSlice::from_slice(item.bytes) })
            .collect();
        let mut intake = Intake::new(items.len(), store);
        let sink = RawSink_TO::from_ptr(RMut::new(&mut intake), TD_Opaque);
        let in_call = self.plugin.in_call();
        let ended = self.raw.encode(RSlice::from_slice(&raw_items), sink);
        drop(in_call);
        let kept = intake.end(ended.is_ok());
        kept.map_err(|reason| EncoderError::Protocol { encoder: self.name.clone(), reason })?;
        match ended {
            RResult::ROk(()) => Ok(()),
            RResult::RErr(error) => Err(self.call_error(&error)),
        }
    }

    /// The error of a call, with the place of the key of plugins.toml that is at fault.
    fn call_error(&self, json: &str) -> EncoderError {
        let cause = sdk_error(json);
        let (file, entry) = &self.written;
        let place = cause.key.as_ref().map(|key| entry.place(file, key));
        EncoderError::Call { place, encoder: self.name.clone(), cause }
    }
}

fn sdk_error(json: &str) -> Error {
    serde_json::from_str(json).unwrap_or_else(|_| Error::new(format!("an error that cannot be parsed: {json}")))
}

fn options(entry: &EncoderEntry, file: &TomlFile) -> serde_json::Result<Options> {
    let json = |(key, value): (&String, &toml::Value)| Ok((key.clone(), serde_json::to_value(value)?));
    Ok(Options::new(entry.options.iter().map(json).collect::<serde_json::Result<_>>()?, file.folder()))
}

/// An encoder's table as a colleague needs it.
fn recorded(entry: &EncoderEntry, specs: &[OptionSpec], description: &Description) -> toml::Table {
    let spec = |key: &str| specs.iter().find(|spec| spec.key == key);
    let mut table = toml::Table::from_iter([("plugin".to_owned(), entry.host.plugin.clone().into())]);
    let open = entry.options.iter().filter(|(key, _)| spec(key).is_some_and(|spec| !spec.secret));
    table.extend(open.map(|(key, value)| (key.clone(), value.clone())));
    let pinned = description.pinned.iter().filter(|(key, _)| spec(key).is_some());
    table.extend(pinned.map(|(key, value)| (key.clone(), value.clone().into())));
    table
}

/// Checks an encoder's keys against those that its plugin declares.
fn check_options(entry: &EncoderEntry, specs: &[OptionSpec], file: &TomlFile) -> Result<(), ConfigError> {
    let encoder = &entry.name;
    let plugin = &entry.host.plugin;
    let at = |key: &str, message: String| Err(entry.error_at(file, key, message));
    for (key, value) in &entry.options {
        let Some(spec) = specs.iter().find(|spec| spec.key == *key) else {
            let known = specs.iter().map(|spec| spec.key.as_str()).chain(HOST_KEYS);
            return at(key, format!("unknown key `{key}` of encoder `{encoder}`{}", suggest(key, known)));
        };
        let (fits, wanted) = match spec.kind {
            OptionKind::Text => (value.is_str(), "text, in quotes"),
            OptionKind::Integer => (value.is_integer(), "a whole number"),
            OptionKind::Number => (value.is_integer() || value.is_float(), "a number"),
            OptionKind::Boolean => (value.is_bool(), "true or false"),
            _ => (true, ""),
        };
        if !fits {
            return at(key, format!("`{key} = {value}` of encoder `{encoder}` must be {wanted}: {}", spec.help));
        }
        if let Some(text) =
            value.as_str().filter(|text| !spec.choices.is_empty() && !spec.choices.iter().any(|c| c == text))
        {
            let choices = suggest(text, spec.choices.iter().map(String::as_str));
            return at(key, format!("`{key}` of encoder `{encoder}` cannot be `{text}`{choices}"));
        }
    }
    match specs.iter().find(|spec| spec.required && !entry.options.contains_key(&spec.key)) {
        Some(OptionSpec { key, help, .. }) => {
            at("", format!("encoder `{encoder}` lacks `{key}`, which plugin `{plugin}` needs: {help}"))
        }
        None => Ok(()),
    }
}
