//! The plugins of a plugins.toml and the encoders opened on them.

mod encoder;
mod in_call;
mod intake;
mod isolated;
mod load;
mod loaded;
mod permits;
mod private_copy;
mod scaffold;
mod services;

use std::path::PathBuf;

pub use encoder::{EncoderError, LoadedEncoder};
pub use in_call::plugins_in_call;
pub use intake::Deliver;
pub use isolated::{COMMAND as SERVE_PLUGIN, serve};
pub use load::LoadError;
pub use loaded::Plugin;
pub use permits::Permit;
pub use scaffold::{ScaffoldError, scaffold};
pub use services::Services;

use crate::config::{Config, EncoderEntry, PluginEntry};

/// Loads plugins and opens encoders on demand, so that a broken one affects only its own users.
pub struct Plugins {
    /// The configuration.
    pub config: Config,
    /// The services shared by plugins.
    pub services: Services,
    folders: Vec<PathBuf>,
    program: PathBuf,
}

impl Plugins {
    /// A registry that searches for plugins in `plugin_folder`, then beside the program. Isolated ones run in processes
    /// of `program`, which is `fusemix` beside this one, or else on the PATH, if it is not given.
    pub fn new(config: Config, services: Services, program: Option<PathBuf>) -> Self {
        let beside = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned()));
        let mut folders: Vec<PathBuf> = config.plugin_folder.iter().chain(&beside).cloned().collect();
        folders.dedup_by_key(|folder| folder.canonicalize().unwrap_or_else(|_| folder.clone()));
        let program = program.unwrap_or_else(|| {
            let file = format!("fusemix{}", std::env::consts::EXE_SUFFIX);
            let beside = beside.map(|folder| folder.join(&file)).filter(|path| path.is_file());
            beside.unwrap_or_else(|| file.into())
        });
        Self { config, services, folders, program }
    }

    /// Loads a plugin; loading it again gives the same library, or another process of it if it is isolated.
    pub fn load(&self, entry: &PluginEntry) -> Result<Plugin, LoadError> {
        match entry.isolated {
            false => Plugin::here(entry, &self.folders),
            true => Plugin::isolated(entry, &self.folders, &self.program),
        }
    }

    /// Opens the encoder called `name`; `watch` receives its status.
    pub fn open(&self, name: &str, watch: &mut dyn FnMut(&str)) -> Result<LoadedEncoder, EncoderError> {
        let entry: EncoderEntry = self.config.encoder(name)?;
        let plugin = self.config.plugins.iter().find(|plugin| plugin.name == entry.host.plugin);
        let plugin = self.load(plugin.expect("checked when plugins.toml was read"))?;
        LoadedEncoder::open(&plugin, &entry, &self.config.file, &self.services, watch)
    }
}
