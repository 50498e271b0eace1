//! A loaded plugin, in this process or in one of its own.

use abi_stable::std_types::RString;
use fusemix_sdk::abi::{RawEncoderBox, RawHostBox};
use fusemix_sdk::export::PluginInfo;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::in_call::InCall;
use super::isolated::{IsolatedEncoder, IsolatedLibrary, Start};
use super::load::{Library, LoadError, load};
use crate::config::PluginEntry;

/// A plugin whose library is loaded and whose interface fits.
#[derive(Clone)]
pub struct Plugin {
    /// The library.
    pub path: PathBuf,
    /// Its self-description.
    pub info: PluginInfo,
    place: Place,
}

/// The process that it is loaded in.
#[derive(Clone)]
enum Place {
    /// This one.
    Here(Library),
    /// One of its own.
    Isolated(Arc<IsolatedLibrary>),
}

impl Plugin {
    /// Finds, checks and loads a plugin in this process.
    pub(super) fn here(entry: &PluginEntry, folders: &[PathBuf]) -> Result<Self, LoadError> {
        let library = load(entry, folders)?;
        Ok(Self { path: library.path.clone(), info: library.info.clone(), place: Place::Here(library) })
    }

    /// The same in a process of its own, of this `program`.
    pub(super) fn isolated(entry: &PluginEntry, folders: &[PathBuf], program: &Path) -> Result<Self, LoadError> {
        let own = std::env::current_exe().ok().filter(|_| program.starts_with("/proc"));
        let (called, folders) = (own.unwrap_or_else(|| program.to_owned()), folders.to_vec());
        let library =
            IsolatedLibrary::load(Start { program: program.to_owned(), called, entry: entry.clone(), folders })?;
        Ok(Self { path: library.path(), info: library.loaded.info.clone(), place: Place::Isolated(Arc::new(library)) })
    }

    /// The digest of this build of the library.
    pub(super) fn digest(&self) -> Result<String, String> {
        match &self.place {
            Place::Here(library) => library.digest().map_err(|error| error.to_string()),
            Place::Isolated(library) => library.loaded.digest.clone(),
        }
    }

    /// True if it is in a process of its own.
    pub fn is_isolated(&self) -> bool {
        matches!(self.place, Place::Isolated(_))
    }

    /// A call of this plugin, which is named if it ends the program.
    pub(super) fn in_call(&self) -> Option<InCall> {
        (!self.is_isolated()).then(|| InCall::of(&self.info.name))
    }

    /// Opens the encoder of a JSON of an `OpenRequest`; if it has to open again after a crash, within `limit`. One in
    /// another process is returned as such, too.
    pub(super) fn open(
        &self,
        request: &str,
        host: RawHostBox,
        limit: Duration,
    ) -> Result<(RawEncoderBox, Option<IsolatedEncoder>), RString> {
        match &self.place {
            Place::Here(library) => Ok((library.open(request, host)?, None)),
            Place::Isolated(library) => {
                let isolated = IsolatedEncoder::open(library.clone(), request, host, limit)?;
                Ok((isolated.raw(), Some(isolated)))
            }
        }
    }

    /// Ends its process, if it has one: it hangs, and nobody waits for it any more.
    pub(super) fn give_up(&self) {
        if let Place::Isolated(library) = &self.place {
            library.give_up();
        }
    }
}
