//! Progress of long work: a bar on a terminal, a line now and then elsewhere. Both on standard error.

use indicatif::{HumanDuration, ProgressBar, ProgressState, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Time between two lines where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(10);

/// What something is at that cannot say how far it is.
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

    /// It is at `line` now.
    pub(super) fn show(&mut self, line: &str) {
        if std::io::stderr().is_terminal() {
            let bar = self.bar.get_or_insert_with(|| ProgressBar::new_spinner().with_prefix(self.name.clone()));
            bar.set_message(format!("{}: {line}", self.name));
            bar.tick();
        } else if !line.is_empty() && self.said.is_none_or(|said| said.elapsed() >= BETWEEN_LINES) {
            self.said = Some(Instant::now());
            eprintln!("{}: {line}", self.name);
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

/// What there is to see of some work.
pub(super) struct Meter {
    name: String,
    unit: &'static str,
    bar: Option<ProgressBar>,
    start: Instant,
    said: Instant,
}

impl Meter {
    /// Work on `total` things called `unit`.
    pub(super) fn new(name: String, total: usize, unit: &'static str) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = "{prefix} [{bar:30}] {pos}/{len} {rate}, {eta} left {wide_msg}";
            let style = ProgressStyle::with_template(style).expect("the template is a constant").progress_chars("=> ");
            let rate = |state: &ProgressState, out: &mut dyn std::fmt::Write| {
                // A bar that cannot be written shows nothing else either.
                let _ = write!(out, "{:.1}/s", state.per_sec());
            };
            let style = style.with_key("rate", rate);
            ProgressBar::new(total as u64).with_style(style).with_prefix(name.clone())
        });
        Self { name, unit, bar, start: Instant::now(), said: Instant::now() }
    }

    /// `done` of `total` are done; `note` is shown beside.
    pub(super) fn show(&mut self, done: usize, total: usize, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_position(done as u64);
            bar.set_message(note.to_owned());
        } else if self.said.elapsed() >= BETWEEN_LINES {
            self.said = Instant::now();
            let seconds = self.start.elapsed().as_secs_f64();
            let rate = done as f64 / seconds;
            let left = Duration::from_secs_f64((total - done) as f64 / rate.max(1e-9));
            let (name, unit, left) = (&self.name, self.unit, HumanDuration(left));
            eprintln!("{name}: {done}/{total} {unit}, {rate:.1}/s, {left} left {note}");
        }
    }

    /// Takes the bar away.
    pub(super) fn end(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
