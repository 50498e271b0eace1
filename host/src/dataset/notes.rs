//! What a reader of a file should know of it, said once for all the shards that it is true of.

use std::collections::BTreeMap;

use crate::wording::count;

/// The status of a row that was downloaded.
pub(super) const SUCCESS: &str = "success";

/// What is to be known of the files of a table.
#[derive(Clone, Debug)]
pub(super) struct Notes {
    all: Vec<Note>,
    /// The rows by what their download says of them.
    pub(super) statuses: BTreeMap<String, usize>,
    /// The files that the table was read from.
    files: usize,
}

#[derive(Clone, Debug)]
struct Note {
    /// One word for the same note in other shards.
    kind: &'static str,
    /// The note, as it is of the first of them.
    text: String,
    /// True if it is a warning too.
    warns: bool,
    /// That shard, and how many there are; 0 for what is none's.
    first: String,
    files: usize,
    /// The last shard that was added.
    last: String,
}

impl Default for Notes {
    fn default() -> Self {
        Self { all: Vec::new(), statuses: BTreeMap::new(), files: 1 }
    }
}

impl Note {
    fn new(kind: &'static str) -> Self {
        Self { kind, text: String::new(), warns: false, first: String::new(), files: 1, last: String::new() }
    }
}

impl Notes {
    /// Adds a warning; `kind` is one word for the same one in other shards.
    pub(super) fn warn(&mut self, kind: &'static str, text: impl Into<String>) {
        self.all.push(Note { text: text.into(), warns: true, ..Note::new(kind) });
    }

    /// Adds a note that is no warning.
    pub(super) fn tell(&mut self, kind: &'static str, text: impl Into<String>) {
        self.all.push(Note { text: text.into(), ..Note::new(kind) });
    }

    /// Adds those of the folder that the files are in.
    pub(super) fn also(&mut self, mut others: Self) {
        others.all.iter_mut().for_each(|note| note.files = 0);
        self.all.append(&mut others.all);
    }

    /// Says which file these are of, before those of others are added.
    pub(super) fn are_of(&mut self, file: &str) {
        for note in self.all.iter_mut().filter(|note| note.first.is_empty()) {
            (note.first, note.last) = (file.to_owned(), file.to_owned());
        }
    }

    /// Adds those of another file; of each kind there is one.
    pub(super) fn add(&mut self, others: &Self, file: &str) {
        self.files += others.files;
        for (status, rows) in &others.statuses {
            *self.statuses.entry(status.clone()).or_default() += rows;
        }
        let mut others = others.clone();
        others.are_of(file);
        for other in others.all {
            // A file may have several of a kind: they count once.
            match self.all.iter_mut().find(|note| note.kind == other.kind) {
                Some(note) if note.last == other.last => {}
                Some(note) => {
                    note.files += other.files;
                    note.last = other.last;
                }
                None => self.all.push(other),
            }
        }
    }

    /// The rows that were not downloaded in words; none if all were.
    pub(super) fn lost(&self) -> Option<String> {
        let found = &self.statuses;
        let (all, whole) = (found.values().sum::<usize>(), found.get(SUCCESS).copied().unwrap_or(0));
        let lost: Vec<String> = found
            .iter()
            .filter(|(status, rows)| *status != SUCCESS && **rows > 0)
            .map(|(status, rows)| format!("{rows} {}", if status.is_empty() { "without a status" } else { status }))
            .collect();
        (whole < all).then(|| format!("{whole} of {} were downloaded; {}", count(all, "row"), lost.join(", ")))
    }

    /// Each note in words, with true if it is a warning.
    pub(super) fn said(&self) -> Vec<(String, bool)> {
        let said = |note: &Note| match (note.files, self.files) {
            (0, _) | (_, 1) => note.text.clone(),
            (files, all) => format!("in {files} of {all} files, the first is {}: {}", note.first, note.text),
        };
        let lost = self.lost().map(|lost| (lost, true));
        self.all.iter().map(|note| (said(note), note.warns)).chain(lost).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_note_is_said_for_all_shards_that_have_it() {
        let of = |lost: usize, cut: bool| {
            let mut notes = Notes::default();
            if cut {
                notes.warn("cut", "it is cut");
            }
            notes.statuses = [("success".to_owned(), 5), ("failed_to_resize".to_owned(), lost)].into();
            notes
        };
        assert_eq!(of(0, true).said(), [("it is cut".to_owned(), true)]);
        let mut whole = of(1, false);
        whole.are_of("0.tar");
        for shard in 1..6 {
            whole.add(&of(shard % 2, shard > 2), &format!("{shard}.tar"));
        }
        let said: Vec<String> = whole.said().into_iter().map(|(said, _)| said).collect();
        let lost = "30 of 34 rows were downloaded; 4 failed_to_resize";
        assert_eq!(said, ["in 3 of 6 files, the first is 3.tar: it is cut", lost]);
    }
}
