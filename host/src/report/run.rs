//! The page of a run: its curves, its retrieval, and what held-out items find.

use std::fmt::{self, Display, Formatter};

use super::curves::{Over, svg};
use super::page::{Escaped, PageError};
use super::thumbnail::Picture;
use crate::eval::Retrieval;
use crate::session::{Answer, Query, Report, Series, Shown};

/// The page of a report.
pub fn of_run(report: &Report) -> Result<String, PageError> {
    html(report).map_err(|error| PageError::Drawing(error.to_string()))
}

fn html(report: &Report) -> Result<String, Box<dyn std::error::Error>> {
    let curve = |heading: &str, unit: &str, series: &[Series]| match series.iter().any(|s| s.points.len() > 1) {
        true => Ok(format!("<figure><figcaption>{heading}</figcaption>{}</figure>", svg(&Over::Epochs, unit, series)?)),
        false => Ok::<_, Box<dyn std::error::Error>>(String::new()),
    };
    let curves = curve("Loss", "InfoNCE", &report.loss)? + &curve("Recall on validation pairs", "%", &report.recall)?;
    let found: String = report.queries.iter().map(|query| Found(query).to_string()).collect();
    Ok(format!(
        include_str!("run.html"),
        title = Escaped(&report.title),
        summary = Escaped(&report.summary),
        table = Table(&report.retrieval),
        curves = curves,
        choice = Escaped(&report.choice),
        found = found,
    ))
}

struct Table<'a>(&'a [Retrieval]);

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("<table><tr><th>from</th><th>to</th><th>R@1</th><th>R@5</th><th>R@10</th><th>median rank</th>")?;
        f.write_str("<th>queries</th><th>gallery</th></tr>")?;
        for Retrieval { from, to, queries, gallery, recall, chance, median_rank, .. } in self.0 {
            write!(f, "<tr><td>{}</td><td>{}</td>", Escaped(from), Escaped(to))?;
            for (k, percent) in recall {
                write!(f, "<td>{percent:.1} <small>chance {:.1}</small></td>", chance[k])?;
            }
            write!(f, "<td>{median_rank}</td><td>{queries}</td><td>{gallery}</td></tr>")?;
        }
        f.write_str("</table>")
    }
}

struct Found<'a>(&'a Query);

impl Display for Found<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Query { item, rank, answers } = self.0;
        write!(f, "<section><h3>{} <small>rank {rank}</small></h3><div class=\"hits\">", Item(item))?;
        for (place, Answer { item, rank, score, right }) in (1..).zip(answers) {
            if *rank > place {
                f.write_str("<div class=\"hit\">…</div>")?;
            }
            let class = if *right { "hit right" } else { "hit" };
            write!(f, "<div class=\"{class}\">{}<small>{score:.2}</small></div>", Item(item))?;
        }
        f.write_str("</div></section>")
    }
}

struct Item<'a>(&'a Shown);

impl Display for Item<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (picture, name) = match self.0 {
            Shown::Text(text) => (None, text),
            Shown::Picture(path, name) => (Picture::read(path), name),
            Shown::Bytes(bytes, name) => (Picture::of(bytes), name),
        };
        let name = Escaped(name);
        match picture {
            Some(picture) => write!(f, "<img src=\"{}\" alt=\"{name}\" title=\"{name}\">", picture.data_uri()),
            None => write!(f, "<span>{name}</span>"),
        }
    }
}
