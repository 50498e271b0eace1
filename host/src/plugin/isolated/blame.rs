//! The blame for crashes: an item's, unless the plugin crashes with whatever it gets.

use fusemix_sdk::ItemError;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::process::Death;

/// Crashes in a row, each with one item alone, after which the plugin is to blame and not the items.
pub(super) const CRASHES: usize = 3;

/// The record of an encoder.
#[derive(Default)]
pub(super) struct Record {
    /// Crashes with an item alone since the last latent.
    crashes: AtomicUsize,
    /// True if it has made latents.
    works: AtomicBool,
}

impl Record {
    /// It has made a latent.
    pub(super) fn works(&self) {
        self.crashes.store(0, Ordering::Relaxed);
        self.works.store(true, Ordering::Relaxed);
    }

    /// It made latents before this.
    pub(super) fn has_worked(&self) {
        self.works.store(true, Ordering::Relaxed);
    }

    /// It crashed with an item alone; true if it did so too often.
    pub(super) fn crashes(&self) -> bool {
        self.crashes.fetch_add(1, Ordering::Relaxed) + 1 >= CRASHES
    }

    /// True if the last crash may be an item's: it has made latents, and this is the first crash since.
    pub(super) fn trusts(&self) -> bool {
        self.works.load(Ordering::Relaxed) && self.crashes.load(Ordering::Relaxed) <= 1
    }
}

/// The failure of an item with which a process ended. It may work next time unless it is `sure`ly the item's.
pub(super) fn failure(plugin: &str, Death { how, killed, .. }: &Death, sure: bool) -> ItemError {
    match (killed, sure) {
        (true, _) => ItemError::transient(format!("the process of plugin `{plugin}` was killed with this item in it")),
        (false, true) => ItemError::new(format!("plugin `{plugin}` crashes on this item ({how})")),
        (false, false) => ItemError::transient(format!("plugin `{plugin}` crashed on this item ({how})")),
    }
}

/// The error of a plugin that ended too often.
pub(super) fn too_often(plugin: &str, Death { how, killed, .. }: &Death) -> String {
    match killed {
        true => format!(
            "the process of plugin `{plugin}` was killed with each of the last {CRASHES} items that it got alone, as \
             systems do that run out of memory; free some, or lower `concurrency`"
        ),
        false => format!(
            "plugin `{plugin}` crashed with each of the last {CRASHES} items that it got alone ({how}); tell its author"
        ),
    }
}
