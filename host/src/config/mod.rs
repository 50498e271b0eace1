//! Files that the user writes: plugins.toml and the recipe, with errors that name file, line and key.

mod groups;
mod method;
mod plugins;
mod recipe;
mod toml_file;
mod unpaired;

pub use method::Method;
pub(crate) use plugins::DEFAULT_CACHE;
pub use plugins::{Config, EncoderEntry, HOST_KEYS, HostKeys, PluginEntry};
pub use recipe::{PairEnd, PairsEntry, Recipe, TowerEntry, TowerSource, table_of, train_table};
pub use toml_file::{ConfigError, TomlFile};
pub use unpaired::UnpairedEntry;
