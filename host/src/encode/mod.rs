//! Encoding of a column into the cache: unknown items are sent in batches, and answers are stored as they arrive.
//!
//! `read` reads ahead, `batches` packs items that the cache does not know, `calls` runs several encoder calls at once,
//! `run` stores the answers, `width` verifies their width, `column` tracks the state of each row, `later` tries again
//! what may pass, `awaited` says what a stop waits for, `summary` counts.

mod awaited;
mod batches;
mod calls;
mod column;
mod forecast;
mod later;
mod once;
mod read;
mod run;
mod summary;
mod width;

use fusemix_sdk::rows::Rows;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::cache::{CacheError, Spent};
use crate::plugin::{EncoderError, LoadedEncoder};
use crate::wording::count;

pub use calls::call;
pub use column::{Failure, Places};
pub use forecast::{Forecast, forecast};
pub use once::{Latent, encode_once};
pub use read::{Files, keys};
pub use run::encode;
pub use summary::{Encoding, Progress, Summary, Wanted};

/// Chunks of items that are read while others are encoded.
const READ_AHEAD: usize = 2;
/// The wait for an answer between checks for the wish to stop.
const TICK: Duration = Duration::from_millis(100);

/// The reason why values that an encoder returned are no latent: one of them is no finite number.
fn not_finite(encoder: &str, values: &[f32]) -> Option<String> {
    let at = values.iter().position(|value| !value.is_finite())?;
    let value = if values[at].is_nan() { "NaN" } else { "infinity" };
    Some(format!("encoder `{encoder}` returned {value} at position {at}"))
}

/// The unit in which a plugin tells how many items it was charged for.
const ITEMS: &str = "items";

/// The usage and cost of rows whose items were measured to have so many tokens.
pub(crate) fn spent(rows: &Rows, measured: u64, encoder: &LoadedEncoder) -> Spent {
    // A plugin that tells another amount must not make a run look cheaper than it is.
    let is_amount = |amount: &f64| amount.is_finite() && *amount >= 0.0;
    let told = rows.usage.iter().filter(|(_, amount)| is_amount(amount));
    let mut usage: BTreeMap<String, f64> = told.map(|(unit, amount)| (unit.clone(), *amount)).collect();
    // What an answer does not tell was measured before.
    let tokens = usage.get("tokens").copied().unwrap_or(measured as f64);
    let encoded = rows.outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
    let items = usage.remove(ITEMS).unwrap_or(encoded as f64);
    let cost = encoder.description.price.map(|price| price.of(tokens, items));
    Spent { items: items as u64, usage, cost }
}

/// Refuses items of so many tokens that cost more than is `left` to spend.
pub(crate) fn afford(encoder: &LoadedEncoder, tokens: u64, items: usize, left: Option<f64>) -> Result<(), EncodeError> {
    let cost = encoder.description.price.map(|price| price.of(tokens as f64, items as f64));
    match (left, cost) {
        (Some(left), Some(cost)) if cost > left => {
            Err(EncodeError::Cost { encoder: encoder.name.clone(), items: count(items, "item"), cost, left })
        }
        _ => Ok(()),
    }
}

/// An error that stops an encoding. Earlier answers are stored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EncodeError {
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Cache(#[from] CacheError),
    #[error(
        "sending {items} to encoder `{encoder}` costs about {cost:.6}, but only {left:.6} is left to spend; raise \
             --max-cost"
    )]
    Cost { encoder: String, items: String, cost: f64, left: f64 },
}
