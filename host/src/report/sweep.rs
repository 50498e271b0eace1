//! The page of a sweep: maps of two keys, curves over numbers, and the whole table.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::PathBuf;

use super::curves::{Over, svg};
use super::page::{Escaped, PageError};
use crate::eval::Interval;
use crate::run::Overlap;
use crate::session::{Series, SweepEffect, SweepRow, SweepTable};
use crate::wording::count;

/// Maps, and curves, that are drawn.
const DRAWN: usize = 12;
/// Lines in a drawing.
const LINES: usize = 6;

/// The sentence in place of the best, where pairs differ.
const NO_BEST: &str = "None is called the best: not all are judged on the same pairs, and some pairs are easier.";

/// The page of a sweep.
pub fn of_sweep(table: &SweepTable) -> Result<String, PageError> {
    let on = match table.pairs {
        Some(pairs) => format!("on {} ({})", count(pairs, "pair"), table.on),
        None => format!("on their own pairs, which differ ({})", table.on),
    };
    let on = match table.left_out {
        0 => on,
        pairs => format!("{on}, without {} of which an item has no latent", count(pairs, "pair")),
    };
    let fits: BTreeSet<&PathBuf> = table.rows.iter().flat_map(|row| &row.runs).map(|run| &run.run).collect();
    let summary = format!(
        "{} from {}: the mean of R@1, R@5 and R@10 over all directions and seeds, {on}. Differences are to \"{}\", \
         query by query.",
        count(table.rows.len(), "variation"),
        count(fits.len(), "fit"),
        table.baseline
    );
    let (maps, curves) = (maps(table), curves(table).map_err(|error| PageError::Drawing(error.to_string()))?);
    Ok(format!(
        include_str!("sweep.html"),
        summary = Escaped(&summary),
        maps = maps,
        curves = curves,
        best = Escaped(&best(table)),
        shared = Escaped(&shared(table)),
        effects = effects(table),
        table = rows(table)
    ))
}

/// The best, and what is not told apart from it.
fn best(table: &SweepTable) -> String {
    let Some(best) = &table.best else {
        let differ = table.pairs.is_none() && table.rows.iter().any(|row| row.recall.is_some());
        return if differ { NO_BEST.to_owned() } else { String::new() };
    };
    let rows = table.best_first();
    let others = || rows.iter().filter(|row| row.name != *best);
    let alike: Vec<&str> = others().filter(|row| row.among_best).map(|row| row.name.as_str()).collect();
    match alike[..] {
        // Nothing was compared with it.
        [] if others().all(|row| row.behind.is_none()) => format!("Best: {best}."),
        [] if others().any(|row| row.behind.is_none()) => {
            format!("Best: {best}, told apart from all others that were judged.")
        }
        [] => format!("Best: {best}, told apart from all others."),
        _ => format!("Best: {best}. Not told apart from it: {}.", alike.join("; ")),
    }
}

/// The pairs of the judgement that were trained on.
fn shared(table: &SweepTable) -> String {
    let line = |of: &Overlap| {
        let first = of.row.map_or(String::new(), |row| format!(" (the first is row {row})"));
        format!(
            "{} of {} of {} and {} were trained on{first}: recall on these says little about new items. ",
            of.pairs,
            count(of.all_pairs, "pair"),
            of.towers[0],
            of.towers[1]
        )
    };
    table.shared.iter().map(line).collect()
}

/// What each varied key does, averaged over the others.
fn effects(table: &SweepTable) -> String {
    let mut html = String::new();
    for SweepEffect { axis, over, values } in &table.effects {
        _ = write!(
            html,
            "<table><tr><th class=\"row\">{}, averaged over {}</th><th>mean R@1, 5, 10 %</th>\
             <th>less the first's</th></tr>",
            Escaped(axis),
            count(*over, "variation")
        );
        for of in values {
            let (value, recall) = (Escaped(&of.value), interval(Some(of.recall), false));
            let apart = interval(of.apart, true);
            _ = write!(html, "<tr><th class=\"row\" scope=\"row\">{value}</th><td>{recall}</td><td>{apart}</td></tr>");
        }
        html += "</table>";
    }
    html
}

/// An interval in a cell; with a sign, that of a difference.
fn interval(of: Option<Interval>, sign: bool) -> String {
    match of {
        Some(Interval { mean, low, high }) if sign => format!("{mean:+.1} <small>({low:+.1} to {high:+.1})</small>"),
        Some(Interval { mean, low, high }) => format!("{mean:.1} <small>({low:.1} to {high:.1})</small>"),
        None => String::new(),
    }
}

/// The values of a row on all axes but these, and its variant.
fn others(table: &SweepTable, row: &SweepRow, but: &[usize]) -> String {
    let axes = table.axes.iter().zip(&row.at).enumerate().filter(|(at, _)| !but.contains(at));
    let values = axes.filter_map(|(_, (axis, at))| Some(format!("{} {}", axis.name, axis.values[(*at)?])));
    row.variant.iter().cloned().chain(values).collect::<Vec<_>>().join(", ")
}

/// The rows that are alike but for these axes, with what they have in common.
fn alike<'a>(table: &'a SweepTable, but: &[usize]) -> Vec<(String, Vec<&'a SweepRow>)> {
    let mut groups: Vec<(String, Vec<&SweepRow>)> = Vec::new();
    for row in &table.rows {
        let name = others(table, row, but);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    groups
}

/// A map of each two values of the first two keys that are no numbers, for all that the other keys can be.
fn maps(table: &SweepTable) -> String {
    let words = (0..table.axes.len()).filter(|&at| !table.axes[at].are_numbers && table.axes[at].values.len() > 1);
    let words: Vec<usize> = words.take(2).collect();
    let [down, across] = words[..] else { return String::new() };
    let means = table.rows.iter().filter_map(|row| row.recall).map(|recall| recall.mean);
    let (least, most) = means.fold((f64::MAX, f64::MIN), |(least, most), mean| (least.min(mean), most.max(mean)));
    let mut maps = String::new();
    for (name, rows) in alike(table, &[down, across]).into_iter().take(DRAWN) {
        _ = write!(maps, "<figure><figcaption>{}</figcaption><table><tr><th></th>", Escaped(&name));
        for value in &table.axes[across].values {
            _ = write!(maps, "<th scope=\"col\">{}</th>", Escaped(value));
        }
        maps += "</tr>";
        for (y, value) in table.axes[down].values.iter().enumerate() {
            _ = write!(maps, "<tr><th class=\"row\" scope=\"row\">{}</th>", Escaped(value));
            for x in 0..table.axes[across].values.len() {
                let row = rows.iter().find(|row| row.at[down] == Some(y) && row.at[across] == Some(x));
                match row.and_then(|row| Some((row, row.recall?))) {
                    Some((row, Interval { mean, low, high })) => {
                        let shade = if most > least { 0.1 + 0.8 * (mean - least) / (most - least) } else { 0.5 };
                        let spread = row.deviation.map_or(String::new(), |deviation| format!(" ± {deviation:.1}"));
                        _ = write!(
                            maps,
                            "<td style=\"background: rgb(42 111 219 / {shade:.2})\" title=\"{low:.1} to {high:.1}\">\
                             {mean:.1}<small>{spread}</small></td>"
                        );
                    }
                    None => maps += "<td></td>",
                }
            }
            maps += "</tr>";
        }
        maps += "</table></figure>";
    }
    maps
}

/// A curve over each key with numbers, a line for all that the others can be.
fn curves(table: &SweepTable) -> Result<String, Box<dyn std::error::Error>> {
    let mut curves = String::new();
    let numbers = (0..table.axes.len()).filter(|&at| table.axes[at].are_numbers && table.axes[at].values.len() > 1);
    for at in numbers.take(DRAWN) {
        let axis = &table.axes[at];
        let series = alike(table, &[at]).into_iter().map(|(name, rows)| {
            let point = |row: &&SweepRow| Some((axis.values[row.at[at]?].parse().ok()?, row.recall?.mean));
            let mut points: Vec<(f64, f64)> = rows.iter().filter_map(point).collect();
            points.sort_by(|a, b| a.0.total_cmp(&b.0));
            Series { name, points }
        });
        let series: Vec<Series> = series.filter(|series| !series.points.is_empty()).collect();
        let shown = &series[..series.len().min(LINES)];
        let more = match series.len() - shown.len() {
            0 => String::new(),
            more => format!(", without {more} more lines"),
        };
        let drawing = svg(&Over::Values(&axis.name), "%", shown)?;
        let name = Escaped(&axis.name);
        _ = write!(curves, "<figure><figcaption>Recall over {name}{more}</figcaption>{drawing}</figure>");
    }
    Ok(curves)
}

/// All variations, the best first.
fn rows(table: &SweepTable) -> String {
    let mut html = "<table><tr><th class=\"row\">variation</th><th>method</th><th>mean R@1, 5, 10 %</th><th>sd of \
                    seeds</th><th>less the baseline's</th><th>less the best's</th>"
        .to_owned();
    for [from, to] in table.ways() {
        _ = write!(html, "<th>{}</th>", Escaped(&format!("R@1 {from} to {to}")));
    }
    html += "</tr>";
    for row in table.best_first() {
        _ = write!(html, "<tr><th class=\"row\" scope=\"row\">{}</th>", Escaped(&row.name));
        if let (None, Some(error)) = (row.recall, &row.error) {
            _ = write!(html, "<td colspan=\"5\">{}</td></tr>", Escaped(error));
            continue;
        }
        let deviation = row.deviation.map_or(String::new(), |deviation| format!("{deviation:.1}"));
        let (recall, apart) = (interval(row.recall, false), interval(row.apart, true));
        let (methods, behind) = (row.methods.join(", "), interval(row.behind, true));
        _ = write!(html, "<td>{methods}</td><td>{recall}</td><td>{deviation}</td><td>{apart}</td><td>{behind}</td>");
        for way in table.ways() {
            let found = row.direction(&way).and_then(|way| way.recall.get(&1));
            _ = write!(html, "<td>{}</td>", found.map_or(String::new(), |found| format!("{found:.1}")));
        }
        if row.lacking > 0 {
            _ = write!(html, "<td>no latent of {}</td>", count(row.lacking, "pair"));
        }
        if let Some(error) = &row.error {
            _ = write!(html, "<td>without a seed that failed: {}</td>", Escaped(error));
        }
        html += "</tr>";
    }
    html + "</table>"
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Interval = Interval { mean: -9.0, low: -12.0, high: -6.0 };

    fn row(name: &str, behind: Option<Interval>, among_best: bool) -> SweepRow {
        SweepRow {
            name: name.to_owned(),
            variant: None,
            at: Vec::new(),
            methods: Vec::new(),
            runs: Vec::new(),
            recall: (behind.is_some() || among_best).then_some(INTERVAL),
            deviation: None,
            apart: None,
            behind,
            among_best,
            pairs: None,
            lacking: 0,
            directions: Vec::new(),
            error: None,
        }
    }

    fn table(best: Option<&str>, rows: Vec<SweepRow>) -> SweepTable {
        SweepTable {
            axes: Vec::new(),
            baseline: "a".to_owned(),
            on: "test",
            pairs: best.map(|_| 20),
            left_out: 0,
            shared: Vec::new(),
            best: best.map(str::to_owned),
            effects: Vec::new(),
            rows,
        }
    }

    #[test]
    fn only_what_was_compared_is_told_apart() {
        let of = |rows: Vec<SweepRow>| best(&table(Some("a"), rows));
        let first = || row("a", None, true);
        assert_eq!(of(vec![first()]), "Best: a.");
        assert_eq!(of(vec![first(), row("failed", None, false)]), "Best: a.");
        let other = || row("b", Some(INTERVAL), false);
        assert_eq!(of(vec![first(), other()]), "Best: a, told apart from all others.");
        let with_failed = vec![first(), other(), row("failed", None, false)];
        assert_eq!(of(with_failed), "Best: a, told apart from all others that were judged.");
        assert_eq!(of(vec![first(), row("b", Some(INTERVAL), true)]), "Best: a. Not told apart from it: b.");
        let apart = table(None, vec![row("a", Some(INTERVAL), false)]);
        assert_eq!(best(&apart), NO_BEST);
        assert!(of_sweep(&apart).unwrap().contains(NO_BEST));
        assert_eq!(best(&table(None, vec![row("a", None, false)])), "");
    }
}
