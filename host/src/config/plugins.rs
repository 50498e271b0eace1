//! plugins.toml: the plugins to load, the encoders configured on them.

use semver::VersionReq;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::sweep::DerivedEncoder;
use super::toml_file::{ConfigError, TomlFile};
use crate::wording::suggest;

/// The folder of the cache, from that of plugins.toml, if that names none.
pub(crate) const DEFAULT_CACHE: &str = ".fusemix/cache";

/// plugins.toml as read; keys that belong to a plugin are checked once that plugin is loaded.
#[derive(Debug)]
pub struct Config {
    /// The file's path.
    pub file: TomlFile,
    /// `plugin_folder`: folders that are searched for plugins besides the program's own; a plugin there needs no
    /// `[[plugin]]`.
    pub plugin_folder: Option<PathBuf>,
    /// `cache`: the folder of the latent cache.
    pub cache: PathBuf,
    /// `[[plugin]]`, in file order.
    pub plugins: Vec<PluginEntry>,
    /// `[encoder.NAME]`, in file order.
    pub encoders: Vec<EncoderEntry>,
    /// Those that a sweep, or a run of one, sets up in another way.
    derived: Mutex<Vec<EncoderEntry>>,
}

/// One `[[plugin]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PluginEntry {
    /// The plugin's package name.
    pub name: String,
    /// The accepted versions, as a Cargo version requirement.
    #[serde(default)]
    pub version: VersionReq,
    /// The library, if it is not found by name.
    pub path: Option<PathBuf>,
    /// The required SHA-256 of the library, in hex.
    pub sha256: Option<String>,
    /// True to run each of its encoders in a process of its own.
    #[serde(default)]
    pub isolated: bool,
}

impl PluginEntry {
    /// An entry with only a name.
    fn found_by_name(name: &str) -> Self {
        Self { name: name.to_owned(), version: VersionReq::STAR, path: None, sha256: None, isolated: false }
    }
}

/// One `[encoder.NAME]`.
#[derive(Clone, Debug)]
pub struct EncoderEntry {
    /// NAME.
    pub name: String,
    /// The host's keys.
    pub host: HostKeys,
    /// All other keys: the plugin's.
    pub options: toml::Table,
    /// The encoder that it differs from in some keys, if a sweep made it.
    pub(crate) derived: Option<DerivedEncoder>,
}

impl EncoderEntry {
    /// The file and the keys where one of its keys stands, as far as it does; `file` is plugins.toml.
    fn keys<'a>(&'a self, file: &'a TomlFile, key: &'a str) -> (&'a TomlFile, [&'a str; 3]) {
        match &self.derived {
            Some(DerivedEncoder { file, base, changes, .. }) if changes.contains_key(key) => {
                (file, ["encoder", base, key])
            }
            Some(DerivedEncoder { base, .. }) => (file, ["encoder", base, key]),
            None => (file, ["encoder", &self.name, key]),
        }
    }

    /// An error at one of its keys.
    pub(crate) fn error_at(&self, file: &TomlFile, key: &str, message: impl Into<String>) -> ConfigError {
        let (file, keys) = self.keys(file, key);
        file.error_at(&keys, message)
    }

    /// File and line of one of its keys.
    pub(crate) fn place(&self, file: &TomlFile, key: &str) -> String {
        let (file, keys) = self.keys(file, key);
        file.place(&keys)
    }
}

/// The keys of an encoder that the host reads itself.
#[derive(Clone, Debug, Deserialize)]
pub struct HostKeys {
    /// The plugin that provides the encoder.
    pub plugin: String,
    /// Items per call, overriding the plugin's preference.
    pub batch: Option<usize>,
    /// Concurrent calls, overriding the plugin's limit.
    pub concurrency: Option<usize>,
    /// Seconds without a sign of life after which a call counts as hung, overriding the plugin's value.
    pub timeout: Option<f64>,
    /// Seconds for which items that fail for a passing reason are tried again, instead of the default.
    pub retry_seconds: Option<f64>,
}

/// The names of [`HostKeys`].
pub const HOST_KEYS: [&str; 5] = ["plugin", "batch", "concurrency", "timeout", "retry_seconds"];

/// The default seconds that a call may take without a sign of life.
const PATIENCE: f64 = 300.0;
/// The default seconds for which items that fail for a passing reason are tried again.
const RETRIES: f64 = 60.0;

impl HostKeys {
    /// The time that a call may take without a sign of life if the plugin asks for `patience` seconds.
    pub fn time_limit(&self, patience: Option<f64>) -> Duration {
        let expected = patience.unwrap_or(0.0).clamp(PATIENCE, 1e9);
        Duration::from_secs_f64(self.timeout.unwrap_or(expected))
    }

    /// The time for which items that fail for a passing reason are tried again.
    pub fn retry_limit(&self) -> Duration {
        Duration::from_secs_f64(self.retry_seconds.unwrap_or(RETRIES))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    plugin_folder: Option<PathBuf>,
    cache: Option<PathBuf>,
    #[serde(default)]
    plugin: Vec<PluginEntry>,
    #[serde(default)]
    encoder: toml::map::Map<String, toml::Value>,
}

impl Config {
    /// Reads `path` and checks everything that needs no plugin.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        Self::parse(TomlFile::read(path, "`fusemix plugins init` makes one; or name another file with --plugins FILE")?)
    }

    /// The configuration in a text.
    pub fn parse(file: TomlFile) -> Result<Self, ConfigError> {
        file.check_lists("plugins.toml", &["plugin"])?;
        if let Some(key) = ["tower", "pairs"].into_iter().find(|key| file.has(&[key])) {
            let message = format!("`{key}` belongs into a recipe; plugins.toml has [[plugin]] and [encoder.NAME]");
            return Err(file.error_at(&[key], message));
        }
        let document: Document = file.parse()?;
        let folder = file.folder().to_owned();
        let mut plugins = document.plugin;
        for (index, plugin) in plugins.iter_mut().enumerate() {
            let index_key = index.to_string();
            if plugin.sha256.as_ref().is_some_and(|hex| hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()))
            {
                let message = "sha256 must be 64 hexadecimal digits, as `sha256sum` prints them";
                return Err(file.error_at(&["plugin", &index_key, "sha256"], message));
            }
            plugin.path = plugin.path.take().map(|path| folder.join(path));
        }
        for (index, plugin) in plugins.iter().enumerate() {
            if plugins[..index].iter().any(|earlier| earlier.name == plugin.name) {
                let message = format!("plugin `{}` is listed twice; remove one", plugin.name);
                return Err(file.error_at(&["plugin", &index.to_string(), "name"], message));
            }
        }
        let plugin_folder = document.plugin_folder.map(|path| folder.join(path));
        if let Some(absent) = plugin_folder.as_ref().filter(|path| !path.is_dir()) {
            let message = format!("`plugin_folder`: {} does not exist", absent.display());
            tracing::warn!("{}", file.error_at(&["plugin_folder"], message));
        }
        let encoders = document.encoder.into_iter().map(|(name, table)| {
            encoder(name.clone(), table).map_err(|(key, message)| file.error_at(&["encoder", &name, &key], message))
        });
        let encoders: Vec<EncoderEntry> = encoders.collect::<Result<_, _>>()?;
        for EncoderEntry { name, host: HostKeys { plugin, .. }, .. } in &encoders {
            if plugins.iter().any(|entry| entry.name == *plugin) {
                continue;
            }
            if plugin_folder.is_none() {
                let names = plugins.iter().map(|entry| entry.name.as_str());
                let message = format!("no [[plugin]] is called `{plugin}`{}", suggest(plugin, names));
                return Err(file.error_at(&["encoder", name, "plugin"], message));
            }
            plugins.push(PluginEntry::found_by_name(plugin));
        }
        let cache = folder.join(document.cache.unwrap_or_else(|| DEFAULT_CACHE.into()));
        Ok(Self { plugin_folder, cache, encoders, derived: Mutex::default(), plugins, file })
    }

    /// Adds an encoder that is another one with other values for some of its keys; once, if it is asked for again.
    pub fn derive(&self, derived: &DerivedEncoder) -> Result<(), ConfigError> {
        let DerivedEncoder { base, name, changes, .. } = derived;
        if self.encoder(name).is_ok() {
            return Ok(());
        }
        self.encoder(base).map_err(|error| match error {
            ConfigError::At { path, message, .. } => {
                let message = format!("{message} in {}", path.display());
                derived.file.error_at(&["encoder", base], message)
            }
            error => error,
        })?;
        let mut document: Document = self.file.parse()?;
        let mut table = document.encoder.remove(base).unwrap_or_else(|| toml::Table::new().into());
        if let toml::Value::Table(table) = &mut table {
            table.extend(changes.clone());
        }
        let entry = encoder(name.clone(), table)
            .map_err(|(key, message)| derived.file.error_at(&["encoder", base, &key], message))?;
        self.derived().push(EncoderEntry { derived: Some(derived.clone()), ..entry });
        Ok(())
    }

    /// The encoder called `name`.
    pub fn encoder(&self, name: &str) -> Result<EncoderEntry, ConfigError> {
        let derived = self.derived();
        let found = self.encoders.iter().chain(&*derived).find(|encoder| encoder.name == name);
        found.cloned().ok_or_else(|| {
            let names = self.encoders.iter().map(|encoder| encoder.name.as_str());
            self.file.error_at(&["encoder"], format!("no encoder is called `{name}`{}", suggest(name, names)))
        })
    }

    fn derived(&self) -> std::sync::MutexGuard<'_, Vec<EncoderEntry>> {
        self.derived.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An entry, or the key that is wrong with it, and why.
fn encoder(name: String, table: toml::Value) -> Result<EncoderEntry, (String, String)> {
    let at = |key: &str, message: String| (key.to_owned(), message);
    let toml::Value::Table(mut options) = table else {
        return Err(at("", format!("`encoder.{name}` must be a table: [encoder.{name}]")));
    };
    let mut own = toml::Table::new();
    for key in HOST_KEYS {
        own.extend(options.remove(key).map(|value| (key.to_owned(), value)));
    }
    if !own.contains_key("plugin") {
        return Err(at("", format!("encoder `{name}` has no `plugin`; name the one that provides it")));
    }
    for key in HOST_KEYS {
        let seconds = |value: &toml::Value| value.as_float().or(value.as_integer().map(|whole| whole as f64));
        let fits = own.get(key).is_none_or(|value| match key {
            "plugin" => value.is_str(),
            "timeout" => seconds(value).is_some_and(|seconds| seconds > 0.0 && seconds < 1e9),
            "retry_seconds" => seconds(value).is_some_and(|seconds| (0.0..1e9).contains(&seconds)),
            _ => value.as_integer().is_some_and(|count| count > 0),
        });
        if !fits {
            let wanted = match key {
                "plugin" => "the name of a plugin, in quotes",
                "timeout" => "a number of seconds above 0",
                "retry_seconds" => "a number of seconds, 0 or more",
                _ => "a whole number above 0",
            };
            return Err(at(key, format!("`{key} = {}` of encoder `{name}` must be {wanted}", own[key])));
        }
    }
    let host: HostKeys = own.try_into().map_err(|error: toml::de::Error| at("", error.message().to_owned()))?;
    Ok(EncoderEntry { name, host, options, derived: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins.toml");
        std::fs::write(&path, text).unwrap();
        Config::read(&path).map_err(|error| error.to_string().rsplit('/').next().unwrap().to_owned())
    }

    #[test]
    fn every_mistake_is_named_by_line() {
        let cases = [
            (
                "[[plugin]]\nnam = 'a'",
                "plugins.toml:2: unknown key `nam`; did you mean `name`? (available: name, version, path, sha256, \
                 isolated)",
            ),
            (
                "[[plugin]]\nname = 'a'\nsha256 = '12'",
                "plugins.toml:3: sha256 must be 64 hexadecimal digits, as `sha256sum` prints them",
            ),
            ("[encoder.x]\nmodel = 'm'", "plugins.toml:1: encoder `x` has no `plugin`; name the one that provides it"),
            (
                "[[plugin]]\nname = 'a'\n[encoder.x]\nplugin = 'b'",
                "plugins.toml:4: no [[plugin]] is called `b`; did you mean `a`? (available: a)",
            ),
            (
                "[[plugin]]\nname = 'a'\n[encoder.x]\nplugin = 'a'\nbatch = 0",
                "plugins.toml:5: `batch = 0` of encoder `x` must be a whole number above 0",
            ),
            (
                "[[plugin]]\nname = 'a'\n[encoder.x]\nplugin = 'a'\nretry_seconds = -1",
                "plugins.toml:5: `retry_seconds = -1` of encoder `x` must be a number of seconds, 0 or more",
            ),
            (
                "[[plugin]]\nname = 'a'\n[[plugin]]\nname = 'a'",
                "plugins.toml:4: plugin `a` is listed twice; remove one",
            ),
        ];
        for (text, message) in cases {
            assert_eq!(read(text).map(drop), Err(message.to_owned()), "for:\n{text}");
        }
    }

    #[test]
    fn what_the_host_does_not_know_is_left_to_the_plugin() {
        let config = read("[[plugin]]\nname = 'a'\n[encoder.x]\nplugin = 'a'\ntimeout = 2\npooling = 'cls'").unwrap();
        let encoder = config.encoder("x").unwrap();
        assert_eq!(encoder.host.time_limit(Some(600.0)), Duration::from_secs(2));
        assert_eq!(encoder.host.retry_limit(), Duration::from_secs(60));
        assert_eq!(encoder.options.keys().collect::<Vec<_>>(), ["pooling"]);
        assert!(config.encoder("y").unwrap_err().to_string().contains("no encoder is called `y`; did you mean `x`?"));
    }
}
