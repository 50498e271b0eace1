//! `spent.jsonl`: what each encoder has used and cost, whatever became of its answers: a line for each second in which
//! there were some.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::Fingerprint;

/// The file, in the folder of the cache.
const FILE: &str = "spent.jsonl";
/// Time between two lines; a kill loses the answers since the last.
const BETWEEN_LINES: Duration = Duration::from_secs(1);

/// Usage by unit, and its cost.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Items that were answered.
    pub items: u64,
    /// The encoder's usage, by unit.
    pub usage: BTreeMap<String, f64>,
    /// The cost, if the encoder has a price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<f64>,
}

#[derive(Serialize, Deserialize)]
struct Line {
    /// Seconds since 1970.
    at: u64,
    encoder: String,
    fingerprint: String,
    #[serde(flatten)]
    spent: Spent,
}

impl Spent {
    /// True if there is nothing to account for, as of an encoder on this machine.
    pub fn is_nothing(&self) -> bool {
        self.usage.is_empty() && self.cost.is_none()
    }

    /// Adds what was spent besides.
    pub fn add(&mut self, other: &Self) {
        self.items += other.items;
        other.usage.iter().for_each(|(unit, amount)| *self.usage.entry(unit.clone()).or_default() += amount);
        if let Some(cost) = other.cost {
            *self.cost.get_or_insert(0.0) += cost;
        }
    }
}

/// The account of one encoder's work.
pub struct Ledger {
    path: PathBuf,
    encoder: String,
    fingerprint: String,
    pending: Spent,
    /// The time of the last line.
    written: Option<Instant>,
}

impl Ledger {
    /// The account of the encoder called `encoder` in the cache folder.
    pub fn new(cache: &Path, fingerprint: &Fingerprint, encoder: &str) -> Self {
        let (encoder, fingerprint) = (encoder.to_owned(), fingerprint.hex().to_owned());
        Self { path: cache.join(FILE), encoder, fingerprint, pending: Spent::default(), written: None }
    }

    /// Adds what was spent. It is written at once if the last line is a second old; else with a later call, or when
    /// this is dropped.
    pub fn add(&mut self, spent: &Spent) {
        self.pending.add(spent);
        if self.written.is_none_or(|written| written.elapsed() >= BETWEEN_LINES) {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.written = Some(Instant::now());
        let spent = std::mem::take(&mut self.pending);
        if spent.is_nothing() {
            return;
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let line = Line { at, encoder: self.encoder.clone(), fingerprint: self.fingerprint.clone(), spent };
        // Whatever a full disk left of the line before, this is one of its own.
        let line = format!("\n{}\n", serde_json::to_string(&line).expect("names and numbers are JSON"));
        // In one write, which other processes do not divide.
        let add = || {
            let folder = self.path.parent().unwrap_or(Path::new("."));
            std::fs::create_dir_all(folder)?;
            File::options().create(true).append(true).open(&self.path)?.write_all(line.as_bytes())
        };
        if let Err(error) = add() {
            tracing::warn!("cannot write {}: {error}; what was spent is not accounted for", self.path.display());
        }
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        self.flush();
    }
}

/// What was spent, by fingerprint, with the names of the encoders.
pub fn spent(cache: &Path) -> io::Result<BTreeMap<String, (Vec<String>, Spent)>> {
    let mut all: BTreeMap<String, (Vec<String>, Spent)> = BTreeMap::new();
    let file = match File::open(cache.join(FILE)) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(all),
        file => file?,
    };
    for line in BufReader::new(file).split(b'\n') {
        // A line that a full disk cut short counts for nothing.
        let Ok(Line { encoder, fingerprint, spent, .. }) = serde_json::from_slice(&line?) else { continue };
        let (names, total) = all.entry(fingerprint).or_default();
        if !names.contains(&encoder) {
            names.push(encoder);
        }
        total.add(&spent);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_spent_adds_up_over_runs_and_damage() {
        let cache = tempfile::tempdir().unwrap();
        let fingerprint = Fingerprint::new(BTreeMap::from([("model".into(), "m".into())]));
        let tokens = |tokens: f64, cost| Spent { items: 2, usage: [("tokens".to_owned(), tokens)].into(), cost };
        for (name, cost) in [("one", Some(0.5)), ("two", None), ("one", Some(0.25))] {
            let mut ledger = Ledger::new(cache.path(), &fingerprint, name);
            ledger.add(&tokens(10.0, cost));
            ledger.add(&tokens(5.0, cost));
            ledger.add(&Spent::default());
        }
        let path = cache.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        assert!(bytes.ends_with(b"}\n"));
        // A line that was cut short, which the next does not continue.
        bytes.extend(b"\xff\xfe\n{\"at\": 1, \"enc");
        std::fs::write(&path, bytes).unwrap();
        Ledger::new(cache.path(), &fingerprint, "one").add(&tokens(1.0, Some(1.0)));
        let all = spent(cache.path()).unwrap();
        let (names, total) = &all[fingerprint.hex()];
        assert_eq!((names.as_slice(), total.items), (&["one".to_owned(), "two".to_owned()][..], 14));
        assert_eq!((total.usage["tokens"], total.cost), (46.0, Some(2.5)));
        assert_eq!(spent(&cache.path().join("nothing")).unwrap().len(), 0);
    }
}
