//! The rows of calls that were tried again, as rows of the batch that a crash interrupted.

use abi_stable::std_types::{RString, RVec};
use fusemix_sdk::abi::RawRows;
use fusemix_sdk::rows::Report;
use fusemix_sdk::{ItemError, Size};
use serde::Serialize;
use std::collections::BTreeMap;

/// The report of rows. One that cannot be parsed is the host's to refuse.
pub(super) fn report(rows: &RawRows) -> Report {
    serde_json::from_str(&rows.report).unwrap_or_default()
}

/// The rows of a call with one item as rows of `item` in its batch, which may not be the last.
pub(super) fn renamed(rows: RawRows, item: usize) -> Result<RawRows, String> {
    let mut report = report(&rows);
    let other = report.items.iter().chain(report.failures.keys()).chain(&report.truncated).find(|index| **index != 0);
    if let Some(other) = other {
        return Err(format!("an outcome for item {other} of 1"));
    }
    report.items.iter_mut().for_each(|index| *index = item);
    report.truncated = report.truncated.into_iter().map(|_| item).collect();
    report.failures = report.failures.into_values().map(|failure| (item, failure)).collect();
    report.last = false;
    Ok(RawRows { report: json(&report), ..rows })
}

/// Rows with the failures of some items.
pub(super) fn failed(failures: BTreeMap<usize, ItemError>) -> RawRows {
    empty(&Report { failures, ..Report::default() })
}

/// Rows that say that items of these sizes may have been paid for without an answer.
pub(super) fn charged(sizes: &[Size]) -> RawRows {
    let tokens: u64 = sizes.iter().map(|size| size.tokens).sum();
    let usage = BTreeMap::from([("items".to_owned(), sizes.len() as f64), ("tokens".to_owned(), tokens as f64)]);
    empty(&Report { usage, ..Report::default() })
}

fn empty(report: &Report) -> RawRows {
    RawRows { values: RVec::new(), width: 0, report: json(report) }
}

pub(super) fn json(value: &impl Serialize) -> RString {
    // Only a map whose keys are no strings or numbers could fail, and there is none.
    serde_json::to_string(value).unwrap_or_default().into()
}
