//! Outcomes on their way from a plugin to the host: packed on one side of the boundary, checked on the other.

use abi_stable::std_types::RVec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

use crate::abi::RawRows;
use crate::{ItemError, Latent, Outcome};

/// The outcomes of some of a batch's items.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Rows {
    /// (item, outcome), each item once; the latents have one width.
    pub outcomes: Vec<(usize, Outcome)>,
    /// The usage since the previous rows, by unit.
    pub usage: BTreeMap<String, f64>,
    /// True if nothing follows: the plugin does not wait until these rows are stored.
    pub last: bool,
}

/// The report that accompanies packed rows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The items of the rows, by index, in the order of the rows.
    #[serde(default)]
    pub items: Vec<usize>,
    /// The items without a latent, by index.
    #[serde(default)]
    pub failures: BTreeMap<usize, ItemError>,
    /// The items that the model truncated, by index.
    #[serde(default)]
    pub truncated: BTreeSet<usize>,
    /// See [`Rows::usage`].
    #[serde(default)]
    pub usage: BTreeMap<String, f64>,
    /// See [`Rows::last`].
    #[serde(default)]
    pub last: bool,
}

/// The host's answer to rows, once they are stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// True if the host wants nothing more from this batch.
    #[serde(default)]
    pub stop: bool,
}

impl Rows {
    /// True if they contain nothing to report.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.usage.is_empty()
    }

    /// These rows in the form that crosses the boundary.
    pub fn pack(self) -> RawRows {
        let width = self.outcomes.iter().find_map(|(_, outcome)| Some(outcome.as_ref().ok()?.values.len()));
        let latents = self.outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).count();
        let mut values = RVec::with_capacity(latents * width.unwrap_or(0));
        let mut report = Report { usage: self.usage, last: self.last, ..Report::default() };
        for (item, outcome) in self.outcomes {
            match outcome {
                Ok(latent) => {
                    values.extend_from_slice(&latent.values);
                    report.items.push(item);
                    if latent.truncated {
                        report.truncated.insert(item);
                    }
                }
                Err(failure) => {
                    report.failures.insert(item, failure);
                }
            }
        }
        // Only a map whose keys are no strings or numbers could fail, and there is none.
        let report = serde_json::to_string(&report).unwrap_or_default();
        RawRows { values, width: width.unwrap_or(0), report: report.into() }
    }

    /// The rows received for a batch of so many `items`, or the error in them.
    pub fn unpack(raw: RawRows, items: usize) -> Result<Self, String> {
        let report: Report =
            serde_json::from_str(&raw.report).map_err(|error| format!("cannot parse its report: {error}"))?;
        let Report { items: rows, failures, truncated, usage, last } = report;
        if rows.len().checked_mul(raw.width) != Some(raw.values.len()) || (raw.width == 0 && !rows.is_empty()) {
            return Err(format!("{} values for {} rows of width {}", raw.values.len(), rows.len(), raw.width));
        }
        let mut seen = BTreeSet::new();
        for &item in rows.iter().chain(failures.keys()) {
            if item >= items {
                return Err(format!("an outcome for item {item} of {items}"));
            }
            if !seen.insert(item) {
                return Err(format!("item {item} has two outcomes"));
            }
        }
        let latent =
            |(values, &item): (&[f32], &usize)| (item, Ok(Latent::new(values.to_vec(), truncated.contains(&item))));
        let latents = raw.values.chunks_exact(raw.width.max(1)).zip(&rows).map(latent);
        let failures = failures.into_iter().map(|(item, failure)| (item, Err(failure)));
        Ok(Self { outcomes: latents.chain(failures).collect(), usage, last })
    }
}

/// All outcomes of a batch, in the order of its items.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Encoded {
    /// One per item.
    pub outcomes: Vec<Outcome>,
    /// The usage of the batch, by unit (`"tokens"`, `"requests"`).
    pub usage: BTreeMap<String, f64>,
}

impl Encoded {
    /// The outcomes of a batch of so many `items`, before any rows have arrived.
    pub fn awaited(items: usize) -> Self {
        Self { outcomes: vec![Err(ItemError::transient("no outcome yet")); items], usage: BTreeMap::new() }
    }

    /// Adds rows of this batch.
    pub fn take(&mut self, rows: Rows) {
        for (item, outcome) in rows.outcomes {
            self.outcomes[item] = outcome;
        }
        for (unit, amount) in rows.usage {
            *self.usage.entry(unit).or_default() += amount;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Rows {
        let outcomes = vec![
            (2, Ok(vec![1.0, 2.0].into())),
            (0, Ok(Latent::new(vec![3.0, 4.0], true))),
            (3, Err(ItemError::transient("later"))),
        ];
        Rows { outcomes, usage: BTreeMap::from([("tokens".to_owned(), 7.0)]), last: true }
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        assert_eq!(Rows::unpack(rows().pack(), 4), Ok(rows()));
        assert_eq!(Rows::unpack(Rows::default().pack(), 0), Ok(Rows::default()));
        let failed = Rows { outcomes: vec![(0, Err(ItemError::new("bad")))], ..Rows::default() };
        assert_eq!(Rows::unpack(failed.clone().pack(), 1), Ok(failed));
    }

    #[test]
    fn rows_of_another_form_are_refused() {
        let refused = |change: fn(&mut RawRows), items| {
            let mut raw = rows().pack();
            change(&mut raw);
            Rows::unpack(raw, items).unwrap_err()
        };
        assert_eq!(refused(|_| {}, 3), "an outcome for item 3 of 3");
        assert_eq!(refused(|raw| raw.values.truncate(3), 4), "3 values for 2 rows of width 2");
        assert_eq!(refused(|raw| raw.width = usize::MAX, 4), format!("4 values for 2 rows of width {}", usize::MAX));
        assert_eq!(refused(|raw| (raw.values, raw.width) = (RVec::new(), 0), 4), "0 values for 2 rows of width 0");
        assert_eq!(refused(|raw| raw.report = r#"{"items": [1, 1]}"#.into(), 4), "item 1 has two outcomes");
        assert!(refused(|raw| raw.report = "none".into(), 4).starts_with("cannot parse its report"));
        let both = r#"{"items": [1, 2], "failures": {"2": {"message": "bad"}}}"#;
        assert_eq!(
            Rows::unpack(RawRows { report: both.into(), ..rows().pack() }, 4).unwrap_err(),
            "item 2 has two outcomes"
        );
    }
}
