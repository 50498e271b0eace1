//! Counts, options and sums of money in words.

use crate::encode::Summary;
use crate::fit::fusemix::Options;
use crate::wording::count;

/// A sum of money with enough digits to be meaningful.
pub(super) fn money(cost: f64) -> String {
    let digits = if cost > 0.0 { (1.0 - cost.log10().floor()).clamp(2.0, 12.0) as usize } else { 2 };
    format!("{cost:.digits$}")
}

/// An encoding in one line.
pub(super) fn line(encoder: &str, summary: &Summary) -> String {
    let Summary { rows, encoded, cached, duplicates, truncated, damaged, failed, .. } = summary;
    let mut line =
        format!("{encoder}: {}, {encoded} encoded, {cached} already cached, {failed} failed", count(*rows, "row"));
    if *duplicates > 0 {
        line += &format!(", {}", count(*duplicates, "duplicate"));
    }
    for (number, what) in [(truncated, "truncated"), (damaged, "damaged in the cache")] {
        if *number > 0 {
            line += &format!(", {number} {what}");
        }
    }
    for (unit, amount) in &summary.usage {
        let unit = if *amount == 1.0 { unit.strip_suffix('s').unwrap_or(unit) } else { unit };
        line += &format!(", {amount} {unit}");
    }
    if let Some(cost) = summary.cost {
        line += &format!(", cost {}", money(cost));
    }
    if summary.bounded {
        line += "; stopped before exceeding --max-items or --max-cost";
    }
    if summary.stopped {
        line += "; stopped: run this again to continue";
    }
    if summary.error.is_some() {
        line += "; stopped by an error: the next run continues from here";
    }
    line
}

/// The options of a training in a line.
pub(super) fn options(options: &Options) -> String {
    let table = toml::Table::try_from(options).unwrap_or_default();
    let option = |(key, value): (String, toml::Value)| match value {
        toml::Value::Float(number) => format!("{key} {}", number as f32),
        toml::Value::String(text) => format!("{key} {text}"),
        value => format!("{key} {value}"),
    };
    table.into_iter().map(option).collect::<Vec<_>>().join(", ")
}
