//! The trait that a plugin implements, and the description that an encoder gives of itself.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

use crate::{Error, Host, Item, Modality, OptionSpec, Options, Sink};

/// A frozen unimodal encoder. Write it, export it with [`crate::export!`], and you have a plugin.
///
/// The host may call [`encode`](Encoder::encode) from several threads at once, up to
/// [`Description::concurrency`]; a panic in any method is caught and reported as this encoder's failure.
pub trait Encoder: Sized + Send + Sync + 'static {
    /// The keys that this encoder accepts in plugins.toml besides the host's own (`plugin`, `batch`, `timeout`,
    /// `concurrency`, `retry_seconds`).
    fn options() -> Vec<OptionSpec> {
        Vec::new()
    }

    /// Loads the model.
    fn open(options: &Options, host: &Host) -> Result<Self, Error>;

    /// The description of this encoder. It must not change while the encoder is open.
    fn describe(&self) -> Description;

    /// The size of each item, in the units of [`Description::limits`] and [`Description::price`]. The host asks if
    /// either is set, before it makes batches or forecasts a cost. The default is the items' own bytes.
    fn measure(&self, items: &[Item<'_>]) -> Vec<Size> {
        items.iter().map(|item| Size::new(item.bytes.len() as u64, 0)).collect()
    }

    /// Turns items into latents: puts one outcome per item into `sink`. An `Err` fails the whole batch and stops the
    /// run, so keep it for failures that no other item could survive; a bad item is an `Err` in its own outcome.
    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error>;
}

/// The self-description of an encoder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The modality of its items.
    pub modality: Modality,
    /// The kind of its items in a column, for a custom modality. If it is not set, the host guesses from the column.
    #[serde(default, deserialize_with = "known")]
    pub items: Option<ItemKind>,
    /// Values per latent. `None` if only the first answer tells (a remote model).
    #[serde(default)]
    pub width: Option<usize>,
    /// The preferred number of items per call.
    #[serde(default = "one")]
    pub batch: usize,
    /// The most concurrent calls.
    #[serde(default = "one")]
    pub concurrency: usize,
    /// The properties that make two latents comparable, besides the plugin's name: model, digest of the weights,
    /// preprocessing, layer, pooling, truncation, normalisation. The host keeps latents of different fingerprints
    /// apart; never put a secret in it.
    #[serde(default)]
    pub fingerprint: BTreeMap<String, String>,
    /// Other valid values of this encoder's options, by key, if they depend on its model: layers, poolings.
    #[serde(default)]
    pub choices: BTreeMap<String, Vec<String>>,
    /// The values of this encoder's options that get the same model anywhere and for good, where plugins.toml says
    /// less: the commit that a branch was at. The host notes them in what it makes, beside the rest of plugins.toml.
    #[serde(default)]
    pub pinned: BTreeMap<String, String>,
    /// The limits of a batch besides `batch` items.
    #[serde(default)]
    pub limits: Limits,
    /// The limits per minute: the encoder itself waits, and the host forecasts the duration of an encoding.
    #[serde(default)]
    pub rate: Rate,
    /// The price of items: the host forecasts the cost, and stops before `--max-cost` is exceeded.
    #[serde(default)]
    pub price: Option<Price>,
    /// Seconds that a call may take without a sign of life, if more than the host's default; a `timeout` in
    /// plugins.toml overrides it.
    #[serde(default)]
    pub patience: Option<f64>,
    /// The largest L2 distance between latents of the same item in different batches, relative to their length.
    #[serde(default = "tolerance")]
    pub tolerance: f32,
}

/// The kind of an item in a column of a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemKind {
    /// The cell is the item.
    Text,
    /// The cell names the file that is the item.
    File,
}

/// None for a kind that only a later version of this crate knows.
fn known<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<ItemKind>, D::Error> {
    let said = serde_json::Value::deserialize(deserializer)?;
    Ok(ItemKind::deserialize(said).ok())
}

fn one() -> usize {
    1
}

fn tolerance() -> f32 {
    1e-4
}

impl Description {
    /// An encoder of `modality` whose latents have `width` values.
    pub fn new(modality: Modality, width: impl Into<Option<usize>>) -> Self {
        let fingerprint = BTreeMap::new();
        Self {
            modality,
            items: None,
            width: width.into(),
            batch: 1,
            concurrency: 1,
            fingerprint,
            choices: BTreeMap::new(),
            pinned: BTreeMap::new(),
            limits: Limits::default(),
            rate: Rate::default(),
            price: None,
            patience: None,
            tolerance: tolerance(),
        }
    }

    /// Sets [`Description::items`].
    pub fn items(mut self, kind: ItemKind) -> Self {
        self.items = Some(kind);
        self
    }

    /// Sets [`Description::batch`].
    pub fn batch(mut self, items: usize) -> Self {
        self.batch = items;
        self
    }

    /// Sets [`Description::concurrency`].
    pub fn concurrency(mut self, calls: usize) -> Self {
        self.concurrency = calls;
        self
    }

    /// Adds an entry to [`Description::fingerprint`].
    pub fn fingerprint(mut self, key: &str, value: impl ToString) -> Self {
        self.fingerprint.insert(key.into(), value.to_string());
        self
    }

    /// Adds an entry to [`Description::choices`].
    pub fn choices(mut self, key: &str, choices: Vec<String>) -> Self {
        self.choices.insert(key.into(), choices);
        self
    }

    /// Adds an entry to [`Description::pinned`].
    pub fn pinned(mut self, key: &str, value: impl ToString) -> Self {
        self.pinned.insert(key.into(), value.to_string());
        self
    }

    /// Sets [`Description::limits`].
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Sets [`Description::rate`].
    pub fn rate(mut self, rate: Rate) -> Self {
        self.rate = rate;
        self
    }

    /// Sets [`Description::price`].
    pub fn price(mut self, price: impl Into<Option<Price>>) -> Self {
        self.price = price.into();
        self
    }

    /// Sets [`Description::patience`].
    pub fn patience(mut self, seconds: f64) -> Self {
        self.patience = Some(seconds);
        self
    }

    /// Sets [`Description::tolerance`].
    pub fn tolerance(mut self, relative: f32) -> Self {
        self.tolerance = relative;
        self
    }
}

/// The size of an item for its encoder: as sent, if it is sent somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Size {
    /// Bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Tokens, or the encoder's estimate of them; 0 if nothing is counted in tokens.
    #[serde(default)]
    pub tokens: u64,
}

impl Size {
    /// A size of so many bytes and tokens.
    pub fn new(bytes: u64, tokens: u64) -> Self {
        Self { bytes, tokens }
    }
}

/// The most that all items of a batch may add up to, by [`Encoder::measure`]; a larger item gets a batch of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Items, regardless of plugins.toml.
    #[serde(default)]
    pub items: Option<usize>,
    /// Bytes.
    #[serde(default)]
    pub bytes: Option<u64>,
    /// Tokens.
    #[serde(default)]
    pub tokens: Option<u64>,
}

impl Limits {
    /// These limits.
    pub fn new(bytes: Option<u64>, tokens: Option<u64>) -> Self {
        Self { items: None, bytes, tokens }
    }

    /// Sets [`Limits::items`].
    pub fn items(mut self, items: impl Into<Option<usize>>) -> Self {
        self.items = items.into();
        self
    }
}

/// The limits per minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rate {
    /// Batches.
    #[serde(default)]
    pub requests: Option<f64>,
    /// Tokens.
    #[serde(default)]
    pub tokens: Option<f64>,
}

impl Rate {
    /// These rates.
    pub fn new(requests: Option<f64>, tokens: Option<f64>) -> Self {
        Self { requests, tokens }
    }
}

/// The price of items, in the user's currency of plugins.toml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Price {
    /// The price of a million tokens.
    #[serde(default)]
    pub million_tokens: f64,
    /// The price of an item: of each that gets a latent, or of as many `items` as [`crate::Sink::used`] tells.
    #[serde(default)]
    pub item: f64,
}

impl Price {
    /// These prices.
    pub fn new(million_tokens: f64, item: f64) -> Self {
        Self { million_tokens, item }
    }

    /// The cost of this many tokens and items.
    pub fn of(&self, tokens: f64, items: f64) -> f64 {
        self.million_tokens * tokens / 1e6 + self.item * items
    }
}
