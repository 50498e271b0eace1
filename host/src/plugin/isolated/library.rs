//! A plugin's library in a process of its own, which is started again after a crash.

use fusemix_sdk::Error;
use fusemix_sdk::abi::RawHostBox;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::message::{Loaded, Reply, Request};
use super::process::{Death, Process, locked};
use crate::config::PluginEntry;
use crate::plugin::load::LoadError;

/// The time that a library may take to load at first.
const LOADING: Duration = Duration::from_secs(300);

/// What a plugin's process is started from.
pub(in crate::plugin) struct Start {
    /// The program that serves plugins, and how errors call it.
    pub(in crate::plugin) program: PathBuf,
    pub(in crate::plugin) called: PathBuf,
    pub(in crate::plugin) entry: PluginEntry,
    pub(in crate::plugin) folders: Vec<PathBuf>,
}

/// A loaded library, and in it at most one encoder.
pub(in crate::plugin) struct IsolatedLibrary {
    start: Start,
    pub(in crate::plugin) loaded: Loaded,
    /// Held to look at it, and while it is started again; never while somebody waits for a call.
    process: Mutex<Arc<Process>>,
    /// The newest process, which may not be ready yet.
    newest: Mutex<Arc<Process>>,
    given_up: AtomicBool,
}

impl IsolatedLibrary {
    /// Starts a process and loads the plugin in it.
    pub(in crate::plugin) fn load(start: Start) -> Result<Self, LoadError> {
        let process = Arc::new(start.process()?);
        let loaded = start.load(&process, LOADING)?;
        let (newest, process) = (Mutex::new(process.clone()), Mutex::new(process));
        Ok(Self { start, loaded, process, newest, given_up: AtomicBool::new(false) })
    }

    /// The plugin's name.
    pub(super) fn plugin(&self) -> &str {
        &self.start.entry.name
    }

    /// The library's file.
    pub(in crate::plugin) fn path(&self) -> PathBuf {
        self.loaded.path.clone().into()
    }

    /// Ends its process: nobody waits for its calls any more.
    pub(in crate::plugin) fn give_up(&self) {
        let newest = locked(&self.newest);
        self.given_up.store(true, Ordering::Relaxed);
        newest.kill();
    }

    /// True after that.
    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.load(Ordering::Relaxed)
    }

    /// The first process.
    pub(super) fn first(&self) -> Arc<Process> {
        locked(&self.process).clone()
    }

    /// The running process. If it has ended, another one is started within `limit`, whose encoder `open` opens.
    pub(super) fn process(
        &self,
        host: &RawHostBox,
        limit: Duration,
        open: impl FnOnce(&Process) -> Result<(), Error>,
    ) -> Result<Arc<Process>, Error> {
        let mut process = locked(&self.process);
        if !process.has_ended() {
            return Ok(process.clone());
        }
        if host.should_stop() {
            return Err(Error::stopped());
        }
        let failed = |cause: LoadError| Error::new(cause.to_string());
        let started = Arc::new(self.start.process().map_err(failed)?);
        {
            let mut newest = locked(&self.newest);
            if self.is_given_up() {
                return Err(Error::new("an earlier call hung, and its process was ended; run this again"));
            }
            *newest = started.clone();
        }
        started.tell(host.clone());
        let loaded = self.start.load(&started, limit).map_err(failed)?;
        if (&loaded.info, &loaded.digest) != (&self.loaded.info, &self.loaded.digest) {
            let plugin = self.plugin();
            return Err(Error::new(format!(
                "plugin `{plugin}` was started again after a crash, and its file is another now; run this again"
            )));
        }
        open(&started)?;
        *process = started.clone();
        Ok(started)
    }
}

impl Start {
    fn process(&self) -> Result<Process, LoadError> {
        Process::start(&self.program)
            .map_err(|cause| self.failed(format!("cannot start {}: {cause}", self.called.display())))
    }

    fn load(&self, process: &Process, limit: Duration) -> Result<Loaded, LoadError> {
        let entry = serde_json::to_string(&PluginEntry { path: None, ..self.entry.clone() });
        let request = Request::Load {
            entry: entry.map_err(|error| self.failed(error.to_string()))?,
            path: self.entry.path.as_deref().map(Into::into),
            folders: self.folders.iter().map(|folder| folder.as_path().into()).collect(),
        };
        match process.ask(&request, &[], Some(limit)) {
            Ok(Some(Reply::Loaded(loaded))) => *loaded,
            Ok(Some(_)) => Err(self.failed("its process gave the answer to another question".to_owned())),
            Ok(None) => {
                process.kill();
                Err(self.failed(format!("its library did not load within {limit:?}")))
            }
            Err(Death { how, .. }) => Err(self.failed(format!(
                "its process ended while the library was loaded ({how}); {} must be fusemix {}",
                self.called.display(),
                crate::VERSION
            ))),
        }
    }

    fn failed(&self, reason: String) -> LoadError {
        LoadError::Process { plugin: self.entry.name.clone(), reason }
    }
}
