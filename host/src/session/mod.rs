//! The use-cases, without printing: open encoders, encode, fit, embed, query, evaluate, report. The caller provides the
//! progress observer and the stop flag; failures are an [`Error`].
//!
//! A [`Session`] is a handle that is cheap to clone; it and the [`Model`]s opened in it can be used from several
//! threads at once.

mod cache;
mod check;
mod embed;
mod encode;
mod error;
mod evaluate;
mod event;
mod fit;
mod gallery;
mod model;
mod query;
mod report;
mod towers;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::cache::{FileStamps, Fingerprint, Shelf};
use crate::config::{Config, ConfigError};
use crate::encode::Files;
use crate::plugin::{LoadedEncoder, Plugins, Services};
use crate::stop::Stop;

pub use cache::Exported;
pub use embed::Embedded;
pub use error::Error;
pub use evaluate::Tested;
pub use event::{Blind, Event, Watcher};
pub use fit::{FitOptions, Fitted};
pub use gallery::{Added, GalleryColumns, GalleryHit, ITEM};
pub use model::Model;
pub use query::{Embedding, Found};

/// Settings of a session.
#[derive(Clone)]
pub struct Setup {
    /// The path of plugins.toml, which is read when first needed.
    pub plugins: PathBuf,
    /// The folder of the latent cache, instead of the one in plugins.toml.
    pub cache: Option<PathBuf>,
    /// True to read files again even if their size and times have not changed.
    pub verify_files: bool,
    /// The stop flag, which any holder of a copy can raise.
    pub stop: Stop,
    /// The observer of events.
    pub watcher: Arc<dyn Watcher>,
}

impl Setup {
    /// Settings of a silent session on `plugins` that nobody stops.
    pub fn new(plugins: impl Into<PathBuf>) -> Self {
        Self {
            plugins: plugins.into(),
            cache: None,
            verify_files: false,
            stop: Stop::default(),
            watcher: Arc::new(Blind),
        }
    }
}

/// The configured plugins, the cache, and the observer.
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    setup: Setup,
    services: Services,
    plugins: OnceLock<Plugins>,
    /// Files as they were when last read.
    stamps: OnceLock<FileStamps>,
    /// Open encoders, by name.
    encoders: Mutex<HashMap<String, Arc<LoadedEncoder>>>,
}

impl Session {
    /// A session that reads plugins.toml when it is first needed.
    pub fn new(setup: Setup) -> Self {
        let services = Services::new(setup.stop.clone());
        let (plugins, stamps, encoders) = (OnceLock::new(), OnceLock::new(), Mutex::default());
        Self(Arc::new(Shared { setup, services, plugins, stamps, encoders }))
    }

    /// A silent session on the plugins.toml at `path`, which is read immediately.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let session = Self::new(Setup::new(path));
        session.plugins()?;
        Ok(session)
    }

    /// The plugins of plugins.toml.
    pub fn plugins(&self) -> Result<&Plugins, Error> {
        if let Some(plugins) = self.0.plugins.get() {
            return Ok(plugins);
        }
        let config = Config::read(&self.0.setup.plugins)?;
        Ok(self.0.plugins.get_or_init(|| Plugins::new(config, self.0.services.clone())))
    }

    /// The folder of the latent cache; without a plugins.toml, `.fusemix/cache`.
    pub fn cache(&self) -> Result<PathBuf, Error> {
        if let Some(cache) = &self.0.setup.cache {
            return Ok(cache.clone());
        }
        match self.plugins() {
            Ok(plugins) => Ok(plugins.config.cache.clone()),
            Err(Error::Config(ConfigError::Read { cause, .. })) if cause.kind() == std::io::ErrorKind::NotFound => {
                Ok(".fusemix/cache".into())
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an encoder, once per session.
    pub fn encoder(&self, name: &str) -> Result<Arc<LoadedEncoder>, Error> {
        // Held while it opens: two who ask for one encoder get the same.
        let mut encoders = self.0.encoders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = encoders.get(name) {
            return Ok(encoder.clone());
        }
        let opened = self.plugins()?.open(name, &mut |line| self.see(Event::Opening { encoder: name, line }));
        self.see(Event::Opened { encoder: name });
        let encoder = Arc::new(opened?);
        encoders.insert(name.to_owned(), encoder.clone());
        Ok(encoder)
    }

    /// The latents of an encoder in the cache.
    pub fn shelf(&self, encoder: &LoadedEncoder) -> Result<Shelf, Error> {
        Ok(Shelf::open(&self.cache()?, Fingerprint::new(encoder.fingerprint.clone()), &encoder.name)?)
    }

    fn files(&self) -> Result<Files<'_>, Error> {
        let cache = self.cache()?;
        let stamps = self.0.stamps.get_or_init(|| FileStamps::open(&cache));
        Ok(Files { stamps, trusted: !self.0.setup.verify_files })
    }

    /// True if somebody has asked to stop.
    pub fn should_stop(&self) -> bool {
        self.0.setup.stop.is_asked()
    }

    fn services(&self) -> &Services {
        &self.0.services
    }

    fn see(&self, event: Event<'_>) {
        self.0.setup.watcher.see(event);
    }
}

/// The folder of a path, for files beside it.
fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}
