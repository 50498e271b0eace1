//! From a column of items to rows of the cache: what is not known is sent in batches, and stored as it comes back.
//!
//! `read` reads ahead, `batches` packs what the cache does not know, `calls` has the encoder work on several at once, `run`
//! stores the answers, `width` makes sure of how wide they are, `column` keeps what is known of each row.

mod batches;
mod calls;
mod column;
mod forecast;
mod once;
mod read;
mod run;
mod width;

use std::time::Duration;

use crate::cache::CacheError;
use crate::plugin::EncoderError;

pub use calls::call;
pub use column::{Failure, Places};
pub use forecast::{Forecast, forecast};
pub use once::{Latent, encode_once};
pub use read::Files;
pub use run::{Encoding, Progress, Summary, Wanted, encode};

/// Chunks of items that are read while others are encoded.
const READ_AHEAD: usize = 2;
/// How long to wait for an answer before looking whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// What stops an encoding. What was answered before is stored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EncodeError {
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Cache(#[from] CacheError),
}
