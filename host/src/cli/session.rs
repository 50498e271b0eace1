//! What a command works with: the configured plugins, the cache, the user's wish to stop.

use anyhow::{Context, Result};
use std::path::PathBuf;

use super::Global;
use crate::config::Config;
use crate::plugin::{Plugins, Services};

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
}
