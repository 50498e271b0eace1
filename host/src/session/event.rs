//! What there is to see of a use-case while it works.

use std::path::Path;

use crate::encode::{Progress, Summary};

/// Something that happened. Whoever shows it decides how.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An encoder is opening, and says what it is at.
    Opening {
        /// Its name in plugins.toml.
        encoder: &'a str,
        /// What it is at, such as a download.
        line: &'a str,
    },
    /// An encoder has opened, or does not open.
    Opened {
        /// Its name in plugins.toml.
        encoder: &'a str,
    },
    /// A table is looked at, before anything is sent.
    Looking {
        /// The table.
        file: &'a Path,
        /// Rows that were looked at.
        done: usize,
        /// All rows.
        total: usize,
    },
    /// A column is being encoded.
    Encoding {
        /// The encoder's name in plugins.toml.
        encoder: &'a str,
        /// The state of the work.
        progress: Progress,
        /// What the encoder waits for, or nothing.
        waits: &'a str,
    },
    /// A column is encoded, as far as it could be.
    Encoded {
        /// The table.
        file: &'a Path,
        /// The column.
        column: &'a str,
        /// The encoder's name in plugins.toml.
        encoder: &'a str,
        /// The counts.
        summary: &'a Summary,
    },
    /// Pairs are left out, because an item has no latent.
    LeftOut {
        /// The file.
        file: &'a Path,
        /// Pairs that are left out.
        pairs: usize,
        /// All pairs of the file.
        total: usize,
    },
    /// A training begins, or goes on.
    Begins {
        /// The device.
        device: &'a str,
        /// Pairs that it trains on.
        pairs: usize,
        /// Steps of the whole training.
        steps: usize,
        /// Steps that an earlier run has taken; none if this is no continuation.
        resumed: Option<usize>,
        /// The options, all resolved.
        options: &'a crate::fit::fusemix::Options,
    },
    /// A training takes its steps.
    Training {
        /// Steps that are done.
        done: usize,
        /// Those of them that this run has taken.
        worked: usize,
        /// Steps of the whole training.
        total: usize,
        /// The loss of the last epoch.
        loss: Option<f32>,
        /// The recall of the last look at the validation pairs, in percent.
        recall: Option<f64>,
    },
    /// A gallery grows.
    Building {
        /// Rows that are done.
        done: usize,
        /// All rows.
        total: usize,
    },
    /// The work that was shown has ended, well or not.
    Ended,
}

/// Whoever wants to see the events of a session. They come from any thread that works for it.
pub trait Watcher: Send + Sync {
    /// Something happened.
    fn see(&self, event: Event<'_>);
}

/// Sees nothing.
pub struct Blind;

impl Watcher for Blind {
    fn see(&self, _: Event<'_>) {}
}
