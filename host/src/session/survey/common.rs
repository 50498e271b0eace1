//! What two files have in common: items by content, and captions by their words.

use serde::Serialize;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;

use super::{Content, Opened, SurveyOptions, naming};
use crate::dataset::{NearTexts, Source};
use crate::session::{Error, Session};
use crate::wording::count;

/// What two files have in common; rows are from 1, of this file and of the other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Common {
    /// The other file.
    pub file: PathBuf,
    /// Rows with the same item, by content: the first of each item.
    pub items: Vec<[usize; 2]>,
    /// Rows with the same caption: the first of each.
    pub captions: Vec<[usize; 2]>,
    /// Rows with captions that are nearly the same, and not the same.
    pub near: Vec<NearCaptions>,
    /// What of both could not be compared, and why.
    pub not_compared: Vec<String>,
}

/// Two captions that are nearly the same; rows are from 1, of this file and of the other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NearCaptions {
    /// The rows.
    pub rows: [usize; 2],
    /// The captions.
    pub texts: [String; 2],
}

impl Session {
    /// What a file has in common with another one.
    pub(super) fn common(
        &self,
        opened: &Opened,
        contents: &HashMap<usize, Content>,
        source: &Source,
        options: &SurveyOptions,
    ) -> Result<Common, Error> {
        // The columns of the other file may have other names.
        let [items, captions] = options.against_columns.clone();
        let there = naming(source, [&items, &captions, &options.items, &options.captions]).table()?;
        let known = |name: &Option<String>| name.clone().filter(|name| there.column(name).is_ok());
        let options = SurveyOptions {
            items: items.or_else(|| known(&options.items)),
            captions: captions.or_else(|| known(&options.captions)),
            ..SurveyOptions::default()
        };
        let other = Opened::new(there, &options)?;
        let others = self.contents(&other, true)?;
        let mut not_compared = Vec::new();
        let lost = others.values().filter(|content| !matches!(content, Content::Whole(_))).count();
        if lost > 0 {
            not_compared.push(format!("{lost} of {} there cannot be read", count(others.len(), "item")));
        }
        for (what, ours, theirs, option) in [
            ("items", &opened.items, &other.items, "--against-column"),
            ("captions", &opened.captions, &other.captions, "--against-captions"),
        ] {
            if ours.is_some() && theirs.is_none() {
                let columns = other.table.names().join(", ");
                not_compared
                    .push(format!("no column with {what} is known there: name it with {option} (columns: {columns})"));
            }
        }
        let number = |row: usize, there: usize| [opened.table.number(row), other.table.number(there)];
        let whole = |contents: &HashMap<usize, Content>| {
            let mut hashes: HashMap<blake3::Hash, usize> = HashMap::new();
            for (&row, content) in contents {
                if let Content::Whole(Some(hash)) = content {
                    let first = hashes.entry(*hash).or_insert(row);
                    *first = row.min(*first);
                }
            }
            hashes
        };
        let others = whole(&others);
        let mut items: Vec<[usize; 2]> =
            whole(contents).iter().filter_map(|(hash, &row)| Some(number(row, *others.get(hash)?))).collect();
        items.sort_unstable();
        let (mut same, mut near) = (Vec::new(), Vec::new());
        if let (Some(captions), Some(known)) = (opened.captions()?, other.captions()?) {
            let known = known.texts();
            let mut rows: HashMap<&str, usize> = HashMap::new();
            for (row, text) in &known {
                rows.entry(text).or_insert(*row);
            }
            let index = NearTexts::of(known.iter().map(|(_, text)| *text).collect(), &self.stop);
            let mut told = HashSet::new();
            for (row, text) in captions.texts() {
                if !told.insert(text) {
                    continue;
                }
                if self.should_stop() {
                    return Err(Error::Stopped);
                }
                if let Some(&there) = rows.get(text) {
                    same.push(number(row, there));
                } else if let Some(at) = index.near(text) {
                    let (there, other) = known[at];
                    near.push(NearCaptions { rows: number(row, there), texts: [text, other].map(str::to_owned) });
                }
            }
        }
        Ok(Common { file: source.path.clone(), items, captions: same, near, not_compared })
    }
}
