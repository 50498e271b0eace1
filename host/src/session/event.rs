//! Events of a running use-case.

use std::path::Path;

use crate::dataset::Naming;
use crate::encode::{Progress, Summary};

/// An event, to be shown in any form.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// An encoder is opening, and reports its status.
    Opening {
        /// Its name in plugins.toml.
        encoder: &'a str,
        /// Its status, such as a download.
        line: &'a str,
    },
    /// An encoder has opened, or failed to open.
    Opened {
        /// Its name in plugins.toml.
        encoder: &'a str,
    },
    /// A table is being scanned, before anything is sent.
    Looking {
        /// The table.
        file: &'a Path,
        /// Scanned rows.
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
        /// The reason for waiting, of the encoder or of items that are tried again, or an empty line.
        waits: &'a str,
    },
    /// A column has been encoded, as far as possible.
    Encoded {
        /// The table.
        file: &'a Path,
        /// The column.
        column: &'a str,
        /// What names its rows.
        naming: Naming,
        /// The encoder's name in plugins.toml.
        encoder: &'a str,
        /// The counts.
        summary: &'a Summary,
    },
    /// Pairs are skipped, because an item has no latent.
    LeftOut {
        /// The file.
        file: &'a Path,
        /// Skipped pairs.
        pairs: usize,
        /// All pairs of the file.
        total: usize,
    },
    /// Pairs that are to be held out, or items of theirs, were trained on.
    Overlap {
        /// The file of the pairs.
        file: &'a Path,
        /// Their number.
        shared: &'a crate::run::Overlap,
    },
    /// A training begins or resumes.
    Begins {
        /// The device.
        device: &'a str,
        /// Its pairs.
        pairs: usize,
        /// Steps of the whole training.
        steps: usize,
        /// Steps of earlier runs; none if this training is not resumed.
        resumed: Option<usize>,
        /// The resolved options.
        options: &'a crate::fit::fusemix::Options,
    },
    /// A training takes its steps.
    Training {
        /// Steps that are done.
        done: usize,
        /// Steps taken by this run.
        worked: usize,
        /// Steps of the whole training.
        total: usize,
        /// The loss of the last epoch.
        loss: Option<f32>,
        /// The last recall on the validation pairs, in percent.
        recall: Option<f64>,
    },
    /// Settings are tried on pairs that are held out.
    Trying {
        /// The purpose.
        what: &'static str,
        /// Fits that are done.
        done: usize,
        /// All fits of this round.
        total: usize,
        /// The method and its options.
        setting: &'a str,
    },
    /// A method was chosen.
    Chose {
        /// The choice, and what was tried.
        choice: &'a crate::fit::auto::Choice,
    },
    /// A fit in closed form begins.
    Fits {
        /// Its method.
        method: &'a str,
        /// Its pairs.
        pairs: usize,
        /// What it needs.
        demand: crate::fit::Demand,
    },
    /// A fit in closed form is under way.
    Fitting {
        /// Its method.
        method: &'a str,
        /// Seconds since it began.
        seconds: f64,
        /// What it needs in all.
        demand: crate::fit::Demand,
    },
    /// Held-out pairs are embedded, or ranked.
    Evaluating {
        /// The work.
        what: &'static str,
        /// What it is counted in.
        unit: &'static str,
        /// What is done.
        done: usize,
        /// All of it.
        total: usize,
    },
    /// A fit of a sweep begins, or is looked at if it is done.
    Sweeping {
        /// Fits before it.
        done: usize,
        /// All fits.
        total: usize,
        /// Its variation.
        variation: &'a str,
        /// Its seed.
        seed: u64,
        /// Seconds that it and those after it take, as far as something tells.
        left: Option<f64>,
    },
    /// A gallery is growing.
    Building {
        /// Rows that are done.
        done: usize,
        /// All rows.
        total: usize,
    },
    /// A gallery's codes are being made.
    Coding {
        /// Its rows, those of removed items among them.
        rows: usize,
    },
    /// A gallery is being written in another form, or sent.
    Exporting {
        /// Items that are done.
        done: usize,
        /// All items.
        total: usize,
    },
    /// The work that was shown has ended, well or not.
    Ended,
}

/// An observer of a session's events, which may come from any of its threads.
pub trait Watcher: Send + Sync {
    /// Receives an event.
    fn see(&self, event: Event<'_>);
}

/// An observer that ignores events.
pub struct Blind;

impl Watcher for Blind {
    fn see(&self, _: Event<'_>) {}
}
