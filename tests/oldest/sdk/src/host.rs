//! The plugin's view of the host: requests to stop, status lines, logging.
//!
//! Plugins log with the macros of `tracing` (re-exported as [`crate::tracing`]); so do the libraries that they use.
//! The events reach the host's own `tracing`, under the plugin's name.

use abi_stable::std_types::RStr;
use serde::{Deserialize, Serialize};
use std::fmt::{Debug, Write};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::abi::RawHostBox;

/// Topic of an event whose body is the JSON of a [`LogRecord`].
pub const TOPIC_LOG: &str = "log";
/// Topic of an event whose body is a line for the progress bar; empty clears it.
pub const TOPIC_STATUS: &str = "status";

/// A handle on the host.
#[derive(Clone)]
pub struct Host(Option<RawHostBox>);

impl Host {
    /// A host for tests, which never asks to stop and ignores everything.
    pub fn detached() -> Self {
        Self(None)
    }

    pub(crate) fn new(raw: RawHostBox) -> Self {
        Self(Some(raw))
    }

    /// True if the user asked to stop. Check it between pieces of long work, and return [`crate::Error::stopped`].
    pub fn should_stop(&self) -> bool {
        self.0.as_ref().is_some_and(|raw| raw.should_stop())
    }

    /// Shows a status line, such as the reason for waiting, beside the progress bar; an empty line clears it.
    pub fn status(&self, line: &str) {
        self.event(TOPIC_STATUS, line);
    }

    fn event(&self, topic: &str, body: &str) {
        if let Some(raw) = &self.0 {
            raw.event(RStr::from_str(topic), RStr::from_str(body));
        }
    }
}

/// One log event on its way to the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogRecord {
    /// `ERROR`, `WARN`, `INFO`, `DEBUG` or `TRACE`.
    pub level: String,
    /// The module that logged.
    pub target: String,
    /// The message, then the fields as `name=value`.
    pub message: String,
}

/// Sends this library's events, and the places of its panics, to the host, unless it already does.
pub(crate) fn forward_events(host: &Host, level: &str) {
    let level = level.parse().unwrap_or(LevelFilter::INFO);
    let installed = tracing::subscriber::set_global_default(Forward { host: host.clone(), level });
    // An `Err` means that an encoder opened earlier has installed it.
    if installed.is_ok() {
        std::panic::set_hook(Box::new(|panic| tracing::error!("{panic}")));
    }
}

/// A subscriber that handles events but not spans.
struct Forward {
    host: Host,
    level: LevelFilter,
}

impl Subscriber for Forward {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && *metadata.level() <= self.level
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(self.level)
    }

    fn event(&self, event: &Event<'_>) {
        let mut message = Message::default();
        event.record(&mut message);
        let record = LogRecord {
            level: event.metadata().level().to_string(),
            target: event.metadata().target().to_owned(),
            message: message.text + &message.fields,
        };
        if let Ok(body) = serde_json::to_string(&record) {
            self.host.event(TOPIC_LOG, &body);
        }
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[derive(Default)]
struct Message {
    text: String,
    fields: String,
}

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        // Writing to a String cannot fail.
        let _ = match field.name() {
            "message" => write!(self.text, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
