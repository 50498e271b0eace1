//! Counts, options, sums of money and command lines in words.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::Display;

use crate::encode::Summary;
use crate::fit::auto::{Choice, Trial};
use crate::fit::fusemix::Options;
use crate::wording::count;

/// A sum of money with enough digits to be meaningful.
pub(super) fn money(cost: f64) -> String {
    let digits = if cost > 0.0 { (1.0 - cost.log10().floor()).clamp(2.0, 12.0) as usize } else { 2 };
    format!("{cost:.digits$}")
}

/// A word of a command line as a shell reads it.
pub(super) fn word(text: impl Display) -> String {
    let text = text.to_string();
    shlex::try_quote(&text).map(Cow::into_owned).unwrap_or(text)
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
    if summary.passing > 0 {
        line += &format!("; run this again for the {} that failed for a passing reason", summary.passing);
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

/// The row of a random order.
const CHANCE: &str = "a random order";

/// What a method was chosen from: the best setting of each method, and the difference to the chosen one.
pub(super) fn choice_table(choice: &Choice) -> String {
    let Choice { chosen, trials, reason, pairs, held_out, taken, available, chance, .. } = choice;
    let mut lines = vec![format!("chose {chosen}: {reason}")];
    let method = |setting: &str| setting.split(' ').next().unwrap_or_default().to_owned();
    let mut methods = BTreeSet::from([method(chosen)]);
    let shown = |trial: &&Trial| trial.setting == *chosen || methods.insert(method(&trial.setting));
    let shown: Vec<&Trial> = trials.iter().filter(shown).collect();
    if shown.iter().any(|trial| trial.recall.is_some()) {
        if taken < available {
            lines.push(format!(
                "the budget has room for trials on {taken} of the {available} pairs; a longer --budget takes more"
            ));
        }
        lines.push(format!(
            "mean of R@1, 5, 10 on {held_out} pairs held out from a fit to {pairs}, in turn; the best setting of each \
             method, and in brackets the 95 % interval of its difference to the chosen one:"
        ));
    }
    let widest = shown.iter().map(|trial| trial.setting.len()).max().unwrap_or(0).max(CHANCE.len());
    let has_figures = shown.iter().any(|trial| trial.recall.is_some());
    for Trial { setting, recall, apart, folds, error } in shown {
        let figures = match (recall, apart, error) {
            (_, _, Some(error)) => format!("failed: {error}"),
            (Some(recall), None, _) => format!("{:5.1}", recall.mean),
            (Some(recall), Some(apart), _) => format!("{:5.1} ({:+.1} to {:+.1})", recall.mean, apart.low, apart.high),
            (None, ..) => String::new(),
        };
        let folds = if error.is_none() { format!(", {}", count(*folds, "fold")) } else { String::new() };
        lines.push(format!("  {setting:widest$}  {figures}{folds}"));
    }
    if has_figures {
        lines.push(format!("  {CHANCE:widest$}  {chance:5.1}"));
    }
    lines.join("\n")
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

/// The best, and what is not told apart from it.
pub(super) fn best(best: &str, alike: &[&str]) -> String {
    match alike {
        [] => format!("best: {best}"),
        alike => format!("best: {best}; not told apart from it: {}", alike.join("; ")),
    }
}
