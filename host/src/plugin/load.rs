//! Loading of plugins, from a `[[plugin]]` entry to a checked module. All of the host's FFI is here.

use abi_stable::library::{AbiHeaderRef, LibraryError, ROOT_MODULE_LOADER_NAME_WITH_NUL};
use abi_stable::std_types::{RStr, RString};
use fusemix_sdk::abi::{PluginModuleRef, RawEncoderBox, RawHostBox};
use fusemix_sdk::export::PluginInfo;
use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
use std::path::{Path, PathBuf};

use super::in_call::InCall;
use super::private_copy::PrivateCopy;
use crate::config::PluginEntry;
use crate::regular;

/// The largest library that is checked against a pinned digest.
const LARGEST: u64 = 4 << 30;

/// A plugin's library in this process, whose interface fits. It stays loaded until the program ends.
#[derive(Clone)]
pub(super) struct Library {
    pub(super) path: PathBuf,
    /// Its self-description.
    pub(super) info: PluginInfo,
    module: PluginModuleRef,
    /// The file that was loaded: the library, or a copy of it.
    loaded: PathBuf,
}

impl Library {
    /// The digest of this build of the library.
    pub(super) fn digest(&self) -> std::io::Result<String> {
        Ok(blake3::Hasher::new().update_mmap_rayon(&self.loaded)?.finalize().to_hex()[..16].to_owned())
    }

    /// Opens the encoder of a JSON of an `OpenRequest`, or returns that of an error.
    pub(super) fn open(&self, request: &str, host: RawHostBox) -> Result<RawEncoderBox, RString> {
        let _in_call = InCall::of(&self.info.name);
        self.module.open()(RStr::from_str(request), host).into_result()
    }
}

/// What to do with a script that should be a plugin.
fn of_script(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("py" | "sh" | "js" | "rb") => {
            "; a plugin is a compiled library: let the script answer over HTTP, and configure it with \
             `provider = \"http\"` of the plugin `api`, as docs/guides/python-encoder.md does"
        }
        _ => "",
    }
}

/// The reason why a plugin cannot be used.
#[derive(Clone, Debug, thiserror::Error, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum LoadError {
    #[error(
        "plugin `{plugin}`: {}",
        match file.is_dir() {
            true => format!("{} is a folder; `path` names the library in it, such as {DLL_PREFIX}{plugin}{DLL_SUFFIX}",
                            file.display()),
            false => format!("no {}{}; build it, or give its `path` in plugins.toml", file.display(),
                             looked_in(plugin, folders)),
        }
    )]
    Missing { plugin: String, file: PathBuf, folders: Vec<PathBuf> },
    #[error("plugin `{plugin}`: cannot read {}: {cause}", path.display())]
    Unreadable { plugin: String, path: PathBuf, cause: String },
    #[error(
        "plugin `{plugin}`: {} has SHA-256 {found}, but plugins.toml pins {pinned}; if you trust this file, pin its \
         SHA-256 instead",
        path.display()
    )]
    Checksum { plugin: String, path: PathBuf, pinned: String, found: String },
    #[error(
        "plugin `{plugin}`: {} is not a library that this system can load: {reason}{}",
        path.display(),
        of_script(path)
    )]
    NotALibrary { plugin: String, path: PathBuf, reason: String },
    #[error(
        "plugin `{plugin}`: {} is a library but not a fusemix plugin; a plugin ends with `fusemix_sdk::export!(...)`",
        path.display()
    )]
    NotAPlugin { plugin: String, path: PathBuf },
    #[error(
        "plugin `{plugin}`: {} was built for a different plugin interface than this version of fusemix uses \
         (fusemix-sdk {}): {reason}; rebuild the plugin with a fusemix-sdk of that major version",
        path.display(),
        fusemix_sdk::VERSION
    )]
    Abi { plugin: String, path: PathBuf, reason: String },
    #[error("plugin `{plugin}`: {} is plugin `{found}`; correct `name` or `path` in plugins.toml", path.display())]
    Name { plugin: String, path: PathBuf, found: String },
    #[error(
        "plugin `{plugin}`: {} is version {found}, but plugins.toml asks for {wanted}; \
         build a version that fits, or change `version`",
        path.display()
    )]
    Version { plugin: String, path: PathBuf, wanted: VersionReq, found: String },
    #[error("plugin `{plugin}` (`isolated = true`): {reason}")]
    Process { plugin: String, reason: String },
}

fn looked_in(plugin: &str, folders: &[PathBuf]) -> String {
    let folder = |folder: &PathBuf| {
        let absent = if folder.is_dir() { "" } else { " (no such folder)" };
        format!("{}{absent}", folder.display())
    };
    let folders: Vec<String> = folders.iter().map(folder).collect();
    match folders.is_empty() {
        true => String::new(),
        false => format!(" in {}, or in {plugin}/target/release there", folders.join(" or ")),
    }
}

/// Finds, checks and loads a plugin. Without a `path`, `folders` are searched for its library's name.
pub(super) fn load(entry: &PluginEntry, folders: &[PathBuf]) -> Result<Library, LoadError> {
    let plugin = || entry.name.clone();
    let path = find(entry, folders)?;
    let mut private = None;
    if let Some(pinned) = &entry.sha256 {
        let unreadable = |cause: std::io::Error| LoadError::Unreadable {
            plugin: plugin(),
            path: path.clone(),
            cause: cause.to_string(),
        };
        let bytes = regular::read(&path, LARGEST).map_err(unreadable)?;
        let found: String = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
        if !found.eq_ignore_ascii_case(pinned) {
            return Err(LoadError::Checksum { plugin: plugin(), path, pinned: pinned.clone(), found });
        }
        // What is loaded is what was checked, whatever happens to the file meanwhile.
        private = Some(PrivateCopy::of(&path, found, &bytes).map_err(unreadable)?);
    }
    let loaded = private.as_ref().map_or(&path, PrivateCopy::path).clone();
    let in_call = InCall::of(&entry.name);
    let module = module(&entry.name, &path, &loaded)?;
    let info = module.info()();
    drop(in_call);
    let info: PluginInfo = serde_json::from_str(&info).map_err(|error| LoadError::Abi {
        plugin: plugin(),
        path: path.clone(),
        reason: format!("cannot parse what it says about itself: {error}"),
    })?;
    if info.name != entry.name {
        return Err(LoadError::Name { plugin: plugin(), path, found: info.name });
    }
    if !Version::parse(&info.version).is_ok_and(|version| entry.version.matches(&version)) {
        return Err(LoadError::Version { plugin: plugin(), path, wanted: entry.version.clone(), found: info.version });
    }
    Ok(Library { path, info, module, loaded })
}

fn find(entry: &PluginEntry, folders: &[PathBuf]) -> Result<PathBuf, LoadError> {
    let missing =
        |file, folders: &[PathBuf]| LoadError::Missing { plugin: entry.name.clone(), file, folders: folders.to_vec() };
    if let Some(path) = &entry.path {
        // The loader would look for a name without a folder elsewhere.
        let path = std::path::absolute(path).unwrap_or(path.clone());
        return if path.is_file() { Ok(path) } else { Err(missing(path, &[])) };
    }
    let file = PathBuf::from(format!("{DLL_PREFIX}{}{DLL_SUFFIX}", entry.name.replace('-', "_")));
    // In the folder, or where cargo leaves it in the folder of the plugin's own sources.
    let built = Path::new(&entry.name).join("target").join("release").join(&file);
    let places = folders.iter().flat_map(|folder| [folder.join(&file), folder.join(&built)]);
    let found = places.into_iter().find(|path| path.is_file());
    found.ok_or_else(|| missing(file, folders))
}

/// The plugin's module in `file`, which errors call `path`.
fn module(plugin: &str, path: &Path, file: &Path) -> Result<PluginModuleRef, LoadError> {
    let not_a_library = |error: libloading::Error| LoadError::NotALibrary {
        plugin: plugin.to_owned(),
        path: path.to_owned(),
        reason: std::error::Error::source(&error).map_or_else(|| error.to_string(), ToString::to_string),
    };
    let abi = |error: LibraryError| LoadError::Abi {
        plugin: plugin.to_owned(),
        path: path.to_owned(),
        reason: error.to_string().split_whitespace().collect::<Vec<_>>().join(" "),
    };
    // SAFETY: loading runs the library's initialisers: the user named this file in plugins.toml, and can pin its sum.
    let library = unsafe { libloading::Library::new(file) }.map_err(not_a_library)?;
    // SAFETY: whatever exports abi_stable's symbol exports a header of this type; `upgrade` below checks its contents.
    let header = unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL.as_bytes()) };
    let header: AbiHeaderRef =
        *header.map_err(|_| LoadError::NotAPlugin { plugin: plugin.to_owned(), path: path.to_owned() })?;
    // The header, and everything reached through it, must live as long as the program.
    std::mem::forget(library);
    header.upgrade().and_then(|header| header.init_root_module::<PluginModuleRef>()).map_err(abi)
}
