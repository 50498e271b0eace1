//! The times that fits of a sweep took, which tell those of the others: what is reckoned from operations alone says
//! little about small steps.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::config::Method;

/// The file of the times in a sweep's folder, a line a fit.
const FILE: &str = "times.jsonl";

/// A fit that was made from its beginning to its end.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Timed {
    method: String,
    /// The seconds that were reckoned.
    reckoned: f64,
    /// Those that it took, with its evaluation.
    taken: f64,
}

/// The times of fits so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    path: PathBuf,
    /// Of each method, the seconds that were reckoned, and those that fits took.
    sums: BTreeMap<String, (f64, f64)>,
    /// True if a stop has cut the file's last line.
    is_cut: bool,
}

impl Pace {
    /// That of the fits which an earlier run of the sweep into `out` has made.
    pub(super) fn read(out: &Path) -> Self {
        let path = out.join(FILE);
        let text = fs::read_to_string(&path).unwrap_or_default();
        let is_cut = !text.is_empty() && !text.ends_with('\n');
        let mut pace = Self { path, sums: BTreeMap::new(), is_cut };
        // A line that a stop has cut says nothing.
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).for_each(|timed| pace.count(&timed));
        pace
    }

    fn count(&mut self, timed: &Timed) {
        let (reckoned, taken) = self.sums.entry(timed.method.clone()).or_default();
        (*reckoned, *taken) = (*reckoned + timed.reckoned, *taken + timed.taken);
    }

    /// The seconds that a fit takes for which so many were reckoned.
    pub(super) fn seconds(&self, method: Method, reckoned: f64) -> f64 {
        match self.sums.get(method.name()) {
            Some((all, taken)) if *all > 0.0 => reckoned * taken / all,
            _ => reckoned,
        }
    }

    /// Notes a fit.
    pub(super) fn add(&mut self, method: Method, reckoned: f64, taken: f64) {
        if reckoned <= 0.0 {
            return;
        }
        let timed = Timed { method: method.name().to_owned(), reckoned, taken };
        self.count(&timed);
        let cut = if std::mem::take(&mut self.is_cut) { "\n" } else { "" };
        let line = format!("{cut}{}\n", serde_json::to_string(&timed).expect("numbers and names are JSON"));
        let write = || OpenOptions::new().create(true).append(true).open(&self.path)?.write_all(line.as_bytes());
        if let Err(cause) = write() {
            tracing::warn!("cannot write {}: {cause}; the times of later fits are only reckoned", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_fits_correct_what_was_reckoned_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut pace = Pace::read(folder.path());
        assert_eq!(pace.seconds(Method::Fusemix, 2.0), 2.0);
        pace.add(Method::Fusemix, 1.0, 20.0);
        pace.add(Method::Fusemix, 3.0, 40.0);
        assert_eq!((pace.seconds(Method::Fusemix, 2.0), pace.seconds(Method::Ridge, 2.0)), (30.0, 2.0));
        // Those who come back know as much, whatever a stop has left of a line.
        fs::write(folder.path().join(FILE), fs::read_to_string(folder.path().join(FILE)).unwrap() + "{\"meth").unwrap();
        let mut again = Pace::read(folder.path());
        assert_eq!(again.seconds(Method::Fusemix, 2.0), 30.0);
        again.add(Method::Fusemix, 1.0, 15.0);
        assert_eq!(Pace::read(folder.path()).seconds(Method::Fusemix, 2.0), 30.0);
        assert_eq!(Pace::read(folder.path()).sums[Method::Fusemix.name()], (5.0, 75.0));
    }
}
