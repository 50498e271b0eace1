//! The page of a classification: how good it is, and which classes are mistaken for one another.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::page::Escaped;
use crate::eval::Accuracy;
use crate::session::Classified;
use crate::wording::count;

/// Classes in the matrix.
const SHOWN: usize = 60;
/// Mistakes in the list.
const MISTAKES: usize = 30;

/// The page of a classification, whose items' classes must be known.
pub fn of_classes(classified: &Classified, accuracy: &Accuracy) -> String {
    let Classified { classes, towers: [from, to], failed, unlisted, .. } = classified;
    let Accuracy { items, top, chance, mean_per_class, interval, .. } = accuracy;
    let without = if *failed > 0 { format!("; {failed} more have no latent") } else { String::new() };
    let others = match unlisted {
        0 => String::new(),
        items => format!("; {} of other classes do not count", count(*items, "item")),
    };
    let summary = format!(
        "{} of {from}, each of the nearest of {} classes of {to}; nothing was trained on these \
         classes{without}{others}.",
        count(*items, "item"),
        classes.len()
    );
    let mut table = "<table><tr><th></th>".to_owned();
    let mut values = ["<tr><th class=\"row\">found</th>".to_owned(), "<tr><th class=\"row\">chance</th>".to_owned()];
    for (k, percent) in top {
        _ = write!(table, "<th>top-{k} %</th>");
        _ = write!(values[0], "<td>{percent:.1}</td>");
        _ = write!(values[1], "<td>{:.1}</td>", chance[k]);
    }
    _ = write!(table, "<th>mean per class %</th></tr>");
    _ = write!(values[0], "<td>{mean_per_class:.1}</td></tr>");
    _ = write!(values[1], "<td>{:.1}</td></tr>", chance[&1]);
    let of = format!("<p>95 % interval of top-1: {:.1} to {:.1} %.</p>", interval.low, interval.high);
    let rows = accuracy.mistakes(MISTAKES).into_iter().map(|(truth, class, items)| {
        let [truth, class] = [truth, class].map(|class| Escaped(&classes[class]));
        format!("<tr><th class=\"row\">{truth}</th><td>taken for {class}</td><td>{items}</td></tr>")
    });
    let mistakes = format!("<table>{}</table>", rows.collect::<String>());
    let shown = shown(accuracy, classes.len());
    let choice = match shown.len() < classes.len() {
        true => format!("The {} classes with the most mistakes.", shown.len()),
        false => String::new(),
    };
    format!(
        include_str!("classes.html"),
        title = Escaped(&format!("{from} by classes of {to}")),
        summary = Escaped(&summary),
        accuracy = format!("{table}{}{}</table>{of}", values[0], values[1]),
        mistakes = mistakes,
        choice = choice,
        matrix = matrix(accuracy, classes, &shown),
    )
}

/// The classes of the matrix: all, or those with the most mistakes, in their order.
fn shown(accuracy: &Accuracy, classes: usize) -> Vec<usize> {
    let mut mistakes = vec![0; classes];
    for (&(truth, class), items) in accuracy.confusion.iter().filter(|((truth, class), _)| truth != class) {
        mistakes[truth] += items;
        mistakes[class] += items;
    }
    let mut order: Vec<usize> = (0..classes).collect();
    order.sort_by_key(|&class| std::cmp::Reverse(mistakes[class]));
    order.truncate(SHOWN);
    order.sort_unstable();
    order
}

/// Items by their class, a row each, and the class that was found.
fn matrix(accuracy: &Accuracy, classes: &[String], shown: &[usize]) -> String {
    let mut of_class: BTreeMap<usize, usize> = BTreeMap::new();
    for (&(truth, _), items) in &accuracy.confusion {
        *of_class.entry(truth).or_default() += items;
    }
    let mut matrix = "<table><tr><th></th>".to_owned();
    for &class in shown {
        _ = write!(matrix, "<th class=\"column\" scope=\"col\">{}</th>", Escaped(&classes[class]));
    }
    matrix += "</tr>";
    for &truth in shown {
        _ = write!(matrix, "<tr><th class=\"row\" scope=\"row\">{}</th>", Escaped(&classes[truth]));
        let all = of_class.get(&truth).copied().unwrap_or(0).max(1);
        for &class in shown {
            let items = accuracy.confusion.get(&(truth, class)).copied().unwrap_or(0);
            let share = items as f64 / all as f64;
            let right = if truth == class { " class=\"right\"" } else { "" };
            let text = if items > 0 { items.to_string() } else { String::new() };
            _ = write!(matrix, "<td{right} style=\"background: rgb(42 111 219 / {share:.2})\">{text}</td>");
        }
        matrix += "</tr>";
    }
    matrix + "</table>"
}
