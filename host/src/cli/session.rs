//! What a command works with: the configured plugins, the cache, the user's wish to stop.

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use crate::cache::{Fingerprint, Store};
use crate::config::Config;
use crate::plugin::{LoadedEncoder, Plugins, Services};

/// Made once, before the command runs.
pub(super) struct Session {
    /// The plugins of plugins.toml.
    pub plugins: Plugins,
    /// The folder of the latent cache.
    pub cache: PathBuf,
    /// Whether to print JSON.
    pub json: bool,
}

impl Session {
    pub(super) fn new(global: &Global) -> Result<Self> {
        let config = Config::read(&global.plugins)?;
        let services = Services::default();
        let asked = services.clone();
        ctrlc::set_handler(move || {
            if asked.should_stop() {
                std::process::exit(super::exit::STOPPED.into());
            }
            eprintln!("\nstopping; once more to stop at once");
            asked.stop();
        })
        .context("cannot listen for Ctrl-C")?;
        let cache = global.cache.clone().unwrap_or_else(|| config.cache.clone());
        Ok(Self { plugins: Plugins::new(config, services), cache, json: global.json })
    }

    /// Opens an encoder.
    pub(super) fn open(&self, name: &str) -> Result<Arc<LoadedEncoder>> {
        Ok(Arc::new(self.plugins.open(name)?))
    }

    /// Opens the store of an encoder's latents.
    pub(super) fn store(&self, encoder: &LoadedEncoder) -> Result<Store> {
        Ok(Store::open(&self.cache, &Fingerprint::new(encoder.fingerprint.clone()), &encoder.name)?)
    }
}
