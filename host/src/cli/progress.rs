//! Progress of long work on standard error: a bar on a terminal, an occasional line elsewhere.

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use super::print::harmless;

/// The time between two lines without a terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// Foreign words in a bar, which has one line.
fn one_line(text: &str) -> String {
    harmless(text).replace('\n', " ")
}

/// The current step of work that cannot tell its progress.
pub(super) struct Waiting {
    name: String,
    bar: Option<ProgressBar>,
    said: Option<Instant>,
}

impl Waiting {
    /// Waiting for `name`.
    pub(super) fn new(name: String) -> Self {
        Self { name, bar: None, said: None }
    }

    /// Shows `line` as the current step.
    pub(super) fn show(&mut self, line: &str) {
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| ProgressBar::new_spinner().with_prefix(self.name.clone()));
            bar.set_message(one_line(&format!("{}: {line}", self.name)));
            bar.tick();
        } else if !line.is_empty() && self.said.is_none_or(|said| said.elapsed() >= BETWEEN_LINES) {
            self.said = Some(Instant::now());
            note!("{}: {line}", self.name);
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// The progress of some work.
pub(super) struct Meter {
    name: String,
    unit: &'static str,
    bar: Option<ProgressBar>,
    start: Instant,
    said: Instant,
}

impl Meter {
    /// Begins work on `total` things called `unit`.
    pub(super) fn new(name: String, total: usize, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:16}] {pos}/{len} {wide_msg}");
            let style = style.expect("the template is a constant").progress_chars("=> ");
            ProgressBar::new(total as u64).with_style(style).with_prefix(name.clone())
        });
        Self { name, unit, bar, start: Instant::now(), said: Instant::now() }
    }

    /// Shows `done` of `total`, `worked` of them done by this run, with `note` beside.
    pub(super) fn show(&mut self, done: usize, total: usize, worked: usize, note: &str) {
        self.show_or_wait(done, total, worked, note, "");
    }

    /// As [`Meter::show`], with the reason for waiting, if any, instead of the rate.
    pub(super) fn show_or_wait(&mut self, done: usize, total: usize, worked: usize, note: &str, waits: &str) {
        if self.bar.is_none() && self.said.elapsed() < BETWEEN_LINES {
            return;
        }
        let rate = worked as f64 / self.start.elapsed().as_secs_f64().max(1e-9);
        let pace = match (waits, worked) {
            // Nothing yet tells how long it will take.
            ("", 0) => String::new(),
            ("", _) => {
                let left = Duration::from_secs_f64(((total - done) as f64 / rate).min(1e9));
                format!("{rate:.1}/s, {} left", HumanDuration(left))
            }
            _ => waits.to_owned(),
        };
        let note = [note, &pace].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
        match &self.bar {
            Some(bar) => {
                bar.set_length(total as u64);
                bar.set_position(done as u64);
                bar.set_message(one_line(&note));
            }
            None => {
                self.said = Instant::now();
                let (name, unit) = (&self.name, self.unit);
                note!("{name}: {done}/{total} {unit}{}{note}", if note.is_empty() { "" } else { ", " });
            }
        }
    }

    /// Removes the bar.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
