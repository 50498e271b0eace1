//! The host's services for plugins: forwarding logs, showing their status, telling them to stop.

use abi_stable::std_types::RStr;
use fusemix_sdk::abi::RawHost;
use fusemix_sdk::host::{LogRecord, TOPIC_LOG, TOPIC_STATUS};
use std::sync::{Arc, Mutex, PoisonError};

use crate::stop::Stop;

/// The services that the host offers to one encoder.
#[derive(Clone, Default)]
pub struct Services {
    stop: Stop,
    status: Arc<Mutex<String>>,
}

impl Services {
    /// Services that tell plugins to stop when `stop` is raised.
    pub fn new(stop: Stop) -> Self {
        Self { stop, status: Arc::default() }
    }

    /// True if the user asked to stop.
    pub fn should_stop(&self) -> bool {
        self.stop.is_asked()
    }

    /// A plugin's reason for waiting, or an empty line.
    pub fn status(&self) -> String {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The same for another encoder, with a status of its own.
    pub(super) fn another(&self) -> Self {
        Self::new(self.stop.clone())
    }

    pub(super) fn for_plugin(&self, plugin: &str) -> PluginServices {
        PluginServices { plugin: plugin.into(), services: self.clone() }
    }
}

/// The [`Services`] of one plugin.
#[derive(Clone)]
pub(super) struct PluginServices {
    plugin: Arc<str>,
    services: Services,
}

impl RawHost for PluginServices {
    fn should_stop(&self) -> bool {
        self.services.should_stop()
    }

    fn event(&self, topic: RStr<'_>, body: RStr<'_>) {
        match topic.as_str() {
            TOPIC_LOG => log(&self.plugin, body.as_str()),
            TOPIC_STATUS => {
                *self.services.status.lock().unwrap_or_else(PoisonError::into_inner) = body.as_str().to_owned();
            }
            // A topic that a newer SDK may send and this host does not know.
            _ => {}
        }
    }
}

/// A plugin's log event as one of the host's; a level of `tracing` is part of the call site, hence the five arms.
fn log(plugin: &str, record: &str) {
    let Ok(LogRecord { level, target, message }) = serde_json::from_str(record) else { return };
    match level.as_str() {
        "ERROR" => tracing::error!(target: "plugin", plugin, at = target, "{message}"),
        "WARN" => tracing::warn!(target: "plugin", plugin, at = target, "{message}"),
        "INFO" => tracing::info!(target: "plugin", plugin, at = target, "{message}"),
        "DEBUG" => tracing::debug!(target: "plugin", plugin, at = target, "{message}"),
        _ => tracing::trace!(target: "plugin", plugin, at = target, "{message}"),
    }
}
