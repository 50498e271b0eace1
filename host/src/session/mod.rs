//! The use-cases, without printing: open encoders, encode, fit, embed, query, evaluate, report. The caller provides the
//! progress observer and the stop flag; failures are an [`Error`].
//!
//! A [`Session`] is a handle that is cheap to clone; it and the [`Model`]s opened in it can be used from several
//! threads at once.

mod broken;
mod budget;
mod cache;
mod check;
mod classify;
mod compare;
mod compress;
mod embed;
mod encode;
mod error;
mod evaluate;
mod event;
mod fit;
mod forecast;
mod gallery;
mod given;
mod model;
mod probe;
mod query;
mod report;
mod survey;
mod sweep;
mod towers;

use fusemix_sdk::ErrorKind;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use budget::Budget;

use crate::cache::{FileStamps, Fingerprint, Ledger, Reader, Shelf};
use crate::config::{Config, ConfigError, DEFAULT_CACHE, DerivedEncoder, LatentRows};
use crate::dataset::{DataError, Dataset, NamedLatents, Source};
use crate::encode::Files;
use crate::plugin::{EncoderError, LoadedEncoder, Plugins, Services};
use crate::run::Overlap;
use crate::stop::Stop;

pub use cache::{Exported, Prune};
pub use classify::{Classified, ClassifiedItem, ClassifyOptions, Templates};
pub use compare::{Compared, Comparison};
pub use compress::Compression;
pub use embed::EmbeddedColumn;
pub use error::Error;
pub use evaluate::{BetweenTowers, Evaluation};
pub use event::{Blind, Event, Watcher};
pub use fit::{Existing, FitOptions, Fitted, Trained, check_options};
pub use forecast::{ColumnForecast, ItemsForecast};
pub use gallery::{Added, GalleryColumns, GalleryHit, ITEM, Migration};
pub use model::Model;
pub use probe::{Probe, ProbeOptions, Probed, ProbedTower};
pub use query::{Embedding, Found};
pub use report::{Answer, Query, Report, Series, Shown};
pub use survey::{
    Common, Gap, NearCaptions, Problem, Survey, SurveyOptions, SurveyedCaptions, SurveyedItems, SurveyedLatents,
    SurveyedValues,
};
pub use sweep::{
    FailingVariation, SweepAxis, SweepDirection, SweepEffect, SweepEffectValue, SweepPlan, SweepRow, SweepRun,
    SweepTable,
};

/// Settings of a session.
#[derive(Clone)]
pub struct Setup {
    /// The path of plugins.toml, which is read when first needed.
    pub plugins: PathBuf,
    /// The folder of the latent cache, instead of the one in plugins.toml.
    pub cache: Option<PathBuf>,
    /// The most that all of its work may cost, by the encoders' prices and their measure of the items.
    pub max_cost: Option<f64>,
    /// The program that runs plugins with `isolated = true`; `fusemix`, beside this one or on the PATH, if not given.
    pub program: Option<PathBuf>,
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
            max_cost: None,
            program: None,
            verify_files: false,
            stop: Stop::default(),
            watcher: Arc::new(Blind),
        }
    }
}

/// The configured plugins, the cache, and the observer.
#[derive(Clone)]
pub struct Session {
    shared: Arc<Shared>,
    stop: Stop,
    watcher: Arc<dyn Watcher>,
}

/// An encoder, once it is open.
type Slot = Mutex<Option<Arc<LoadedEncoder>>>;

/// The state that all handles of a session share.
struct Shared {
    setup: Setup,
    /// Encoders beside those of plugins.toml.
    derived: Vec<DerivedEncoder>,
    budget: Budget,
    plugins: OnceLock<Plugins>,
    /// Files as they were when last read.
    stamps: OnceLock<FileStamps>,
    /// Encoders by name: each opens once, and those who ask for it meanwhile wait for it, and for no other.
    encoders: Mutex<HashMap<String, Arc<Slot>>>,
    /// Latents that are in use, by fingerprint.
    shelves: Mutex<HashMap<String, Weak<Shelf>>>,
    /// Files of latents whose rows are named.
    named: Mutex<HashMap<LatentRows, Arc<NamedLatents>>>,
    /// Latents that are only read, by fingerprint.
    readers: Mutex<HashMap<String, Arc<Reader>>>,
    /// Files of rows that are in use.
    data: Mutex<HashMap<Source, Weak<Dataset>>>,
    /// Rows that were chosen among pairs, by what they were chosen from.
    chosen: Mutex<HashMap<String, Arc<Vec<usize>>>>,
    /// What has been said, and is not said again.
    said: Mutex<HashSet<String>>,
    /// True once latents were encoded and stored.
    encoded: AtomicBool,
}

impl Session {
    /// A session that reads plugins.toml when it is first needed.
    pub fn new(setup: Setup) -> Self {
        Self::with_encoders(setup, Vec::new())
    }

    /// A session with encoders beside those of plugins.toml.
    fn with_encoders(setup: Setup, derived: Vec<DerivedEncoder>) -> Self {
        let (stop, watcher) = (setup.stop.clone(), setup.watcher.clone());
        let shared = Shared {
            budget: Budget::new(setup.max_cost),
            setup,
            derived,
            plugins: OnceLock::new(),
            stamps: OnceLock::new(),
            encoders: Mutex::default(),
            shelves: Mutex::default(),
            named: Mutex::default(),
            readers: Mutex::default(),
            data: Mutex::default(),
            chosen: Mutex::default(),
            said: Mutex::default(),
            encoded: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), stop, watcher }
    }

    /// The same session for one piece of work, which somebody else may stop and watch. An encoder that is in a call
    /// learns only of the wish of the session that opened it.
    pub fn with(&self, stop: Stop, watcher: Arc<dyn Watcher>) -> Self {
        Self { shared: self.shared.clone(), stop, watcher }
    }

    /// The rows of a file; all who use them at once have the same.
    fn data(&self, source: &Source) -> Result<Arc<Dataset>, DataError> {
        let known = locked(&self.shared.data).get(source).and_then(Weak::upgrade);
        if let Some(data) = known {
            return Ok(data);
        }
        let data = Arc::new(source.open()?);
        let mut all = locked(&self.shared.data);
        all.retain(|_, data| data.strong_count() > 0);
        all.insert(source.clone(), Arc::downgrade(&data));
        Ok(data)
    }

    /// A file of latents whose rows are named, which is opened once.
    fn named_latents(&self, rows: &LatentRows) -> Result<Arc<NamedLatents>, Error> {
        if let Some(open) = locked(&self.shared.named).get(rows) {
            return Ok(open.clone());
        }
        let opened = NamedLatents::open(&rows.file, rows.tensor.as_deref(), rows.ids.as_deref(), &rows.id)?;
        let opened = Arc::new(opened);
        locked(&self.shared.named).insert(rows.clone(), opened.clone());
        Ok(opened)
    }

    /// A silent session on the plugins.toml at `path`, which is read immediately.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, Error> {
        let session = Self::new(Setup::new(path));
        session.plugins()?;
        Ok(session)
    }

    /// The plugins of plugins.toml.
    pub fn plugins(&self) -> Result<&Plugins, Error> {
        if let Some(plugins) = self.shared.plugins.get() {
            return Ok(plugins);
        }
        let config = Config::read(&self.shared.setup.plugins)?;
        self.shared.derived.iter().try_for_each(|encoder| config.derive(encoder))?;
        let services = Services::new(self.shared.setup.stop.clone());
        Ok(self.shared.plugins.get_or_init(|| Plugins::new(config, services, self.shared.setup.program.clone())))
    }

    /// The folder of the latent cache; without a plugins.toml, `.fusemix/cache`.
    pub fn cache(&self) -> Result<PathBuf, Error> {
        if let Some(cache) = &self.shared.setup.cache {
            return Ok(cache.clone());
        }
        match self.plugins() {
            Ok(plugins) => Ok(plugins.config.cache.clone()),
            Err(Error::Config(ConfigError::Read { cause, .. })) if cause.kind() == std::io::ErrorKind::NotFound => {
                Ok(DEFAULT_CACHE.into())
            }
            Err(error) => Err(error),
        }
    }

    /// Opens an encoder, once per session.
    pub fn encoder(&self, name: &str) -> Result<Arc<LoadedEncoder>, Error> {
        let slot = locked(&self.shared.encoders).entry(name.to_owned()).or_default().clone();
        // Held while it opens.
        let mut slot = locked(&slot);
        if let Some(encoder) = &*slot {
            return Ok(encoder.clone());
        }
        let opened = self.plugins()?.open(name, &mut |line| self.see(Event::Opening { encoder: name, line }));
        self.see(Event::Opened { encoder: name });
        let stopped = |error: EncoderError| match error.kind() {
            Some(ErrorKind::Stopped) => Error::Stopped,
            _ => error.into(),
        };
        let encoder = Arc::new(opened.map_err(stopped)?);
        *slot = Some(encoder.clone());
        Ok(encoder)
    }

    /// Opens an encoder anew when it is asked for next: this one hangs.
    fn forget(&self, encoder: &LoadedEncoder) {
        locked(&self.shared.encoders).remove(&encoder.name);
    }

    /// The latents of an encoder in the cache; all who use them at once in this process have the same.
    fn shelf(&self, encoder: &LoadedEncoder) -> Result<Arc<Shelf>, Error> {
        let (cache, fingerprint) = (self.cache()?, Fingerprint::new(encoder.fingerprint.clone()));
        let mut shelves = locked(&self.shared.shelves);
        let known = shelves.get(fingerprint.hex()).and_then(Weak::upgrade);
        if let Some(shelf) = known {
            return Ok(shelf);
        }
        let shelf = Arc::new(Shelf::open(&cache, fingerprint.clone(), &encoder.name)?);
        shelves.insert(fingerprint.hex().to_owned(), Arc::downgrade(&shelf));
        Ok(shelf)
    }

    /// The latents of an encoder to read only; none if there are none.
    fn reader(&self, encoder: &LoadedEncoder) -> Result<Option<Arc<Reader>>, Error> {
        let (cache, fingerprint) = (self.cache()?, Fingerprint::new(encoder.fingerprint.clone()));
        let known = locked(&self.shared.readers).get(fingerprint.hex()).cloned();
        if let Some(reader) = known
            && reader.is_current()?
        {
            return Ok(Some(reader));
        }
        let Some(reader) = Reader::open(&cache, &fingerprint)?.map(Arc::new) else { return Ok(None) };
        if !reader.is_locking() {
            locked(&self.shared.readers).insert(fingerprint.hex().to_owned(), reader.clone());
        }
        Ok(Some(reader))
    }

    /// The account of an encoder.
    fn ledger(&self, encoder: &LoadedEncoder) -> Result<Ledger, Error> {
        let fingerprint = Fingerprint::new(encoder.fingerprint.clone());
        Ok(Ledger::new(&self.cache()?, &fingerprint, &encoder.name))
    }

    fn files(&self) -> Result<Files<'_>, Error> {
        let cache = self.cache()?;
        let stamps = self.shared.stamps.get_or_init(|| FileStamps::open(&cache));
        Ok(Files { stamps, trusted: !self.shared.setup.verify_files })
    }

    /// True if somebody has asked to stop.
    pub fn should_stop(&self) -> bool {
        self.stop.is_asked()
    }

    /// True once it has encoded something and stored it.
    pub fn has_encoded(&self) -> bool {
        self.shared.encoded.load(Ordering::Relaxed)
    }

    /// The rows that `choose` chooses, once for each thing `of` which that is.
    fn chosen(&self, of: String, choose: impl FnOnce() -> Result<Vec<usize>, Error>) -> Result<Arc<Vec<usize>>, Error> {
        if let Some(rows) = locked(&self.shared.chosen).get(&of) {
            return Ok(rows.clone());
        }
        let rows = Arc::new(choose()?);
        locked(&self.shared.chosen).insert(of, rows.clone());
        Ok(rows)
    }

    /// True if this has not been said yet; from now on, it has.
    fn is_news(&self, what: String) -> bool {
        locked(&self.shared.said).insert(what)
    }

    /// Warns of what is the same for many fits of a session, once.
    fn warn_once(&self, warning: String) {
        if self.is_news(warning.clone()) {
            tracing::warn!("{warning}");
        }
    }

    /// Says that pairs of a file have an item without a latent, once: a sweep fits to the same ones many times.
    fn say_left_out(&self, file: &Path, pairs: usize, total: usize) {
        if self.is_news(format!("left out {pairs} of {total} {}", file.display())) {
            self.see(Event::LeftOut { file, pairs, total });
        }
    }

    /// Tells of held-out pairs that a training has seen.
    fn warn_of_overlap(&self, file: &Path, shared: &Overlap) {
        if !shared.is_nothing() && self.is_news(format!("overlap {} {shared:?}", file.display())) {
            self.see(Event::Overlap { file, shared });
        }
    }

    fn see(&self, event: Event<'_>) {
        self.watcher.see(event);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
