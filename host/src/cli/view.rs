//! The events of a session, shown on standard error.

use indicatif::HumanDuration;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::progress::{Meter, Waiting};
use super::wording::{choice_table, line, options, word};
use crate::bytes::Bytes;
use crate::dataset::Naming;
use crate::encode::{Progress, Summary};
use crate::fit::Demand;
use crate::run::Overlap;
use crate::session::{Event, Watcher};
use crate::wording::count;

/// The most failures that are listed; `--json` has them all.
const LISTED: usize = 20;

/// The seconds from which a fit is long, and the bytes from which it is large.
const LONG: f64 = 5.0;
const LARGE: u64 = 1 << 30;

fn duration(seconds: f64) -> HumanDuration {
    HumanDuration(Duration::from_secs_f64(seconds.clamp(1.0, 1e9)))
}

/// The encodings that get a line of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Summaries {
    /// None: the command prints it.
    None,
    /// Those that sent something, or failed.
    News,
    /// All.
    All,
}

/// Shows events: one bar or spinner at a time, and notes between them.
pub(super) struct View {
    summaries: Summaries,
    /// Options of this command that one that is proposed needs, too.
    repeated: String,
    shown: Mutex<Shown>,
}

#[derive(Default)]
struct Shown {
    waiting: Option<Waiting>,
    meter: Option<Meter>,
    /// The options of the last training: those of a sweep have mostly the same.
    options: String,
}

impl View {
    pub(super) fn new(summaries: Summaries, repeated: String) -> Self {
        Self { summaries, repeated, shown: Mutex::default() }
    }

    fn encoded(&self, (file, column, naming): (&Path, &str, Naming), encoder: &str, summary: &Summary) {
        for failure in summary.failures.iter().take(LISTED) {
            note!("{}: row {}, {}: {}", file.display(), failure.row, failure.item, failure.reason);
        }
        if summary.failed > LISTED {
            let more = count(summary.failed - LISTED, "more row");
            note!("... and {more}; `fusemix encode --json` lists them all");
        }
        if summary.remembered > 0 {
            let items = count(summary.remembered, "item");
            let options = format!("--encoder {}{} --retry-failed", word(encoder), self.repeated);
            let (data, column) = (word(file.display()), word(column));
            let retry = match naming {
                Naming::Column => format!("retry with `fusemix encode --data {data} --column {column} {options}`"),
                Naming::Options => {
                    format!("`fusemix encode` with `{options}` and the options for these rows tries again")
                }
                Naming::Nothing => format!("`fusemix encode` of their own file with `{options}` tries again"),
            };
            note!("{items} failed in an earlier run; {retry}");
        }
        let news = summary.encoded + summary.failed > 0 || summary.error.is_some();
        if self.summaries == Summaries::All || self.summaries == Summaries::News && news {
            note!("{}, column `{column}`: {}", file.display(), line(encoder, summary));
        }
    }
}

impl Watcher for View {
    fn see(&self, event: Event<'_>) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let Shown { waiting, meter, options: last } = &mut *shown;
        let mut end = || meter.take().into_iter().for_each(Meter::end);
        match event {
            Event::Opening { encoder, line } => {
                waiting.get_or_insert_with(|| Waiting::new(format!("opening {encoder}"))).show(line);
            }
            Event::Opened { .. } => *waiting = None,
            Event::Looking { file, done, total } => meter
                .get_or_insert_with(|| Meter::new(format!("scanning {}", file.display()), total, "rows"))
                .show(done, total, done, ""),
            Event::Encoding { encoder, progress: Progress { done, total, worked, failed }, waits } => {
                let meter = meter.get_or_insert_with(|| Meter::new(format!("encoding with {encoder}"), total, "rows"));
                let failures = if failed > 0 { format!("({failed} failed)") } else { String::new() };
                meter.show_or_wait(done, total, worked, &failures, waits);
            }
            Event::Encoded { file, column, naming, encoder, summary } => {
                self.encoded((file, column, naming), encoder, summary);
            }
            Event::LeftOut { file, pairs, total } => {
                note!("{}: skipped {pairs} of {total} pairs: an item has no latent", file.display());
            }
            Event::Overlap { file, shared } => {
                let Overlap { towers, pairs, all_pairs, items, all_items, row, trained } = shared;
                let of = |side: usize| format!("{} of {} {} items", items[side], all_items[side], towers[side]);
                let first = row.map_or(String::new(), |row| format!("; the first is row {row}"));
                let like = trained
                    .as_ref()
                    .map_or(String::new(), |(file, row)| format!(", which is row {row} of {}", file.display()));
                // Texts of classes are those of the training; what they are found by is not.
                let known = match (pairs, items) {
                    (0, [0, _] | [_, 0]) => "all of these pairs are new, and some of their items are not",
                    _ => "recall on these says little about new items",
                };
                note!(
                    "{}: {pairs} of {} were trained on ({}, {}): {known}{first}{like}",
                    file.display(),
                    count(*all_pairs, "pair"),
                    of(0),
                    of(1)
                );
            }
            Event::Begins { device, pairs, steps, resumed, options: resolved } => {
                match resumed {
                    Some(0) => note!("there is no checkpoint; starting from the beginning"),
                    Some(done) => note!("resuming after {done} of {steps} steps"),
                    None => {}
                }
                note!("training on {device}: {}, {}", count(pairs, "pair"), count(steps, "step"));
                let options = options(resolved);
                if options != *last {
                    note!("{options}");
                    *last = options;
                }
            }
            Event::Training { done, worked, total, loss, recall } => {
                let loss = loss.map_or(String::new(), |loss| format!("loss {loss:.3}"));
                let recall = recall.map_or(String::new(), |recall| format!(", validation recall {recall:.1}%"));
                let meter = meter.get_or_insert_with(|| Meter::new("training".to_owned(), total, "steps"));
                meter.show(done, total, worked, &(loss + &recall));
            }
            Event::Trying { what, done, total, setting } => {
                meter.get_or_insert_with(|| Meter::new(what.to_owned(), total, "fits")).show(done, total, done, setting)
            }
            Event::Chose { choice } => note!("{}", choice_table(choice)),
            Event::Fits { method, pairs, demand: Demand { seconds, bytes } } => {
                if seconds >= LONG || bytes >= LARGE {
                    let (pairs, bytes) = (count(pairs, "pair"), Bytes::rounded(bytes));
                    note!("fitting {method} to {pairs}: about {} of two cores, {bytes} of memory", duration(seconds));
                }
            }
            Event::Fitting { method, seconds, demand } => {
                if seconds >= LONG {
                    let line = format!("{} of about {}", duration(seconds), duration(demand.seconds));
                    waiting.get_or_insert_with(|| Waiting::new(format!("fitting {method}"))).show(&line);
                }
            }
            Event::Evaluating { what, unit, done, total } => {
                meter.get_or_insert_with(|| Meter::new(what.to_owned(), total, unit)).show(done, total, done, "")
            }
            Event::Sweeping { done, total, variation, seed, left } => {
                let left = left.filter(|left| *left >= LONG);
                let left = left.map_or(String::new(), |left| format!("; about {} left", duration(left)));
                note!("fit {} of {total}: {variation}, seed {seed}{left}", done + 1);
            }
            Event::Coding { rows } => {
                waiting.get_or_insert_with(|| Waiting::new("coding".to_owned())).show(&count(rows, "row"));
            }
            Event::Exporting { done, total } => meter
                .get_or_insert_with(|| Meter::new("exporting the gallery".to_owned(), total, "items"))
                .show(done, total, done, ""),
            Event::Building { done, total } => meter
                .get_or_insert_with(|| Meter::new("building the gallery".to_owned(), total, "rows"))
                .show(done, total, done, ""),
            Event::Ended => {
                end();
                *waiting = None;
            }
        }
    }
}
