//! Files that the user writes: plugins.toml and the recipe, with errors that name file, line and key.

mod groups;
mod method;
mod pair_file;
mod pairs;
mod plugins;
mod recipe;
mod subset;
mod sweep;
mod toml_file;
mod tower;

pub use method::Method;
pub use pairs::{PairEnd, PairsEntry, UnpairedEntry};
pub(crate) use plugins::DEFAULT_CACHE;
pub use plugins::{Config, EncoderEntry, HOST_KEYS, HostKeys, PluginEntry};
pub use recipe::{Recipe, table_of, train_table};
pub use subset::{ChosenBy, Subset};
pub use sweep::{Axis, DerivedEncoder, Pairs, Sweep, Variation};
pub use toml_file::{ConfigError, TomlFile};
pub use tower::{LatentRows, TowerEntry, TowerSource};
