//! The trait that a plugin implements, and how an encoder describes itself.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

use crate::{Error, Host, Item, Modality, OptionSpec, Options, Sink};

/// A frozen unimodal encoder. Write it, export it with [`crate::export!`], and you have a plugin.
///
/// The host may call [`encode`](Encoder::encode) from several threads at once, up to
/// [`Description::concurrency`]; a panic in any method is caught and reported as this encoder's failure.
pub trait Encoder: Sized + Send + Sync + 'static {
    /// The keys that this encoder accepts in plugins.toml besides the host's own (`plugin`, `batch`, `timeout`,
    /// `concurrency`).
    fn options() -> Vec<OptionSpec> {
        Vec::new()
    }

    /// Loads the model.
    fn open(options: &Options, host: &Host) -> Result<Self, Error>;

    /// What this encoder is. It must not change while the encoder is open.
    fn describe(&self) -> Description;

    /// How large each item is, in the units of [`Description::limits`] and [`Description::price`]. The host asks if
    /// there are such, before it makes batches or says what an encoding would cost. The default says the items' own
    /// bytes.
    fn measure(&self, items: &[Item<'_>]) -> Vec<Size> {
        items.iter().map(|item| Size::new(item.bytes.len() as u64, 0)).collect()
    }

    /// Turns items into latents: puts one outcome an item into `sink`. An `Err` of the whole batch stops the run, so
    /// keep it for what no other item could survive; a bad item is an `Err` in its own outcome.
    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error>;
}

/// What an encoder says about itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The modality of its items.
    pub modality: Modality,
    /// The kind of its items in a column, for a modality of your own. Where it is not said, the host looks at the
    /// column.
    #[serde(default, deserialize_with = "known")]
    pub items: Option<ItemKind>,
    /// Values a latent. `None` when only the first answer tells (a remote model).
    #[serde(default)]
    pub width: Option<usize>,
    /// Items that the encoder likes to get at once.
    #[serde(default = "one")]
    pub batch: usize,
    /// Calls that may run at once.
    #[serde(default = "one")]
    pub concurrency: usize,
    /// What makes two latents comparable, besides the plugin's name: model, digest of the weights, preprocessing,
    /// layer, pooling, truncation, normalisation. The host keeps latents of different fingerprints apart; never put a
    /// secret in it.
    #[serde(default)]
    pub fingerprint: BTreeMap<String, String>,
    /// What this encoder's options could say instead, by key, where that depends on its model: layers, poolings.
    #[serde(default)]
    pub choices: BTreeMap<String, Vec<String>>,
    /// What a batch may hold beside `batch` items.
    #[serde(default)]
    pub limits: Limits,
    /// What a minute may hold: the encoder waits by itself, the host foretells how long an encoding takes.
    #[serde(default)]
    pub rate: Rate,
    /// What items cost: the host foretells it, and stops before `--max-cost` is exceeded.
    #[serde(default)]
    pub price: Option<Price>,
    /// Seconds that a call may take without a sign of life, if that is more than the host allows by itself and
    /// plugins.toml says no `timeout`.
    #[serde(default)]
    pub patience: Option<f64>,
    /// How far a latent may be from the one that the same item gets in another batch, relative to its length (L2).
    #[serde(default = "tolerance")]
    pub tolerance: f32,
}

/// The kind of an item as a column of a table has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ItemKind {
    /// The cell is the item.
    Text,
    /// The cell names the file that is the item.
    File,
}

/// None for a kind that a later version of this crate knows.
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

/// How large an item is for its encoder: as it is sent, if it is sent somewhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Size {
    /// Bytes.
    #[serde(default)]
    pub bytes: u64,
    /// Tokens, or the encoder's estimate of them; 0 where nothing is counted in tokens.
    #[serde(default)]
    pub tokens: u64,
}

impl Size {
    /// This many bytes and tokens.
    pub fn new(bytes: u64, tokens: u64) -> Self {
        Self { bytes, tokens }
    }
}

/// The most that all items of a batch may come to, by [`Encoder::measure`]; an item that is larger gets a batch of its
/// own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Limits {
    /// Items, whatever plugins.toml says.
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

/// The most that a minute may hold.
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

/// What items cost, in the currency of whoever wrote it into plugins.toml.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Price {
    /// A million tokens.
    #[serde(default)]
    pub million_tokens: f64,
    /// An item.
    #[serde(default)]
    pub item: f64,
}

impl Price {
    /// These prices.
    pub fn new(million_tokens: f64, item: f64) -> Self {
        Self { million_tokens, item }
    }

    /// What this many tokens and items cost.
    pub fn of(&self, tokens: f64, items: f64) -> f64 {
        self.million_tokens * tokens / 1e6 + self.item * items
    }
}
