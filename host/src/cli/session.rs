//! What a command works with: the configured plugins, the cache, the user's wish to stop.

use anyhow::{Context, Result};
use std::path::PathBuf;
use std::sync::Arc;

use super::Global;
use super::progress::Waiting;
use crate::cache::{Fingerprint, Store};
use crate::config::Config;
use crate::plugin::{EncoderError, LoadedEncoder, Plugins, Services};
use crate::toml_file::ConfigError;

/// Made once, before the command runs.
pub(super) struct Session {
    /// What the plugins share.
    pub services: Services,
    /// The folder of the latent cache.
    pub cache: PathBuf,
    /// Whether to print JSON.
    pub json: bool,
    /// The file that --plugins names, and what it configures; nothing if it is not there, which not every command minds.
    config: PathBuf,
    plugins: Option<Plugins>,
}

impl Session {
    pub(super) fn new(global: &Global) -> Result<Self> {
        let config = match Config::read(&global.plugins) {
            Err(ConfigError::Read { cause, .. }) if cause.kind() == std::io::ErrorKind::NotFound => None,
            config => Some(config?),
        };
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
        let configured = config.as_ref().map(|config| config.cache.clone());
        let cache = global.cache.clone().or(configured).unwrap_or_else(|| ".fusemix/cache".into());
        let plugins = config.map(|config| Plugins::new(config, services.clone()));
        Ok(Self { services, cache, json: global.json, config: global.plugins.clone(), plugins })
    }

    /// The plugins of plugins.toml.
    pub(super) fn plugins(&self) -> Result<&Plugins> {
        match &self.plugins {
            Some(plugins) => Ok(plugins),
            None => {
                Err(Config::read(&self.config).err().context("plugins.toml appeared just now; run it again")?.into())
            }
        }
    }

    /// Opens an encoder.
    pub(super) fn open(&self, name: &str) -> Result<Arc<LoadedEncoder>> {
        Ok(Arc::new(open(self.plugins()?, name)?))
    }

    /// Opens the store of an encoder's latents.
    pub(super) fn store(&self, encoder: &LoadedEncoder) -> Result<Store> {
        Ok(Store::open(&self.cache, &Fingerprint::new(encoder.fingerprint.clone()), &encoder.name)?)
    }
}

/// Opens an encoder, and shows what it is at if that takes long.
pub(super) fn open(plugins: &Plugins, name: &str) -> Result<LoadedEncoder, EncoderError> {
    let mut waiting = Waiting::new(format!("opening {name}"));
    plugins.open(name, &mut |line| waiting.show(line))
}
