//! The report as one self-contained HTML page.

use std::fmt::{self, Display, Formatter};

use super::curves::{Series, svg};
use super::thumbnail::Picture;
use crate::eval::Retrieval;

/// The content of the page.
pub struct Page {
    /// The heading: which encoders were fused.
    pub title: String,
    /// One paragraph: data, sizes, seed.
    pub summary: String,
    /// Loss over the epochs.
    pub loss: Vec<Series>,
    /// Recall over the epochs on the validation pairs; may be empty.
    pub recall: Vec<Series>,
    /// Recall on the test pairs.
    pub retrieval: Vec<Retrieval>,
    /// The choice of the queries below.
    pub choice: String,
    /// The results of those queries.
    pub found: Vec<Found>,
}

/// A query and the nearest items of another tower.
pub struct Found {
    /// The query.
    pub query: Shown,
    /// Rank of the best match, from 1.
    pub rank: usize,
    /// The nearest items, nearest first; the last may be the best match, from further away.
    pub hits: Vec<Hit>,
}

/// One answer.
pub struct Hit {
    /// The item.
    pub item: Shown,
    /// Its place among all items, from 1.
    pub rank: usize,
    /// Cosine similarity to the query.
    pub score: f32,
    /// True if it is a match.
    pub right: bool,
}

/// An item as shown on the page.
pub enum Shown {
    /// Text, or the name of a file that cannot be shown.
    Text(String),
    /// A picture, and its file's name.
    Picture(Picture, String),
}

impl Page {
    /// The page's HTML.
    pub fn html(&self) -> Result<String, Box<dyn std::error::Error>> {
        let curve = |heading: &str, unit: &str, series: &[Series]| match series.iter().any(|s| s.points.len() > 1) {
            true => Ok(format!("<figure><figcaption>{heading}</figcaption>{}</figure>", svg(unit, series)?)),
            false => Ok::<_, Box<dyn std::error::Error>>(String::new()),
        };
        let curves = curve("Loss", "InfoNCE", &self.loss)? + &curve("Recall on validation pairs", "%", &self.recall)?;
        let found: String = self.found.iter().map(Found::to_string).collect();
        Ok(format!(
            include_str!("page.html"),
            title = Escaped(&self.title),
            summary = Escaped(&self.summary),
            table = Table(&self.retrieval),
            curves = curves,
            choice = Escaped(&self.choice),
            found = found,
        ))
    }
}

struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                letter => write!(f, "{letter}"),
            }?;
        }
        Ok(())
    }
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

impl Display for Found {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "<section><h3>{} <small>rank {}</small></h3><div class=\"hits\">", self.query, self.rank)?;
        for (place, hit) in (1..).zip(&self.hits) {
            if hit.rank > place {
                f.write_str("<div class=\"hit\">…</div>")?;
            }
            let class = if hit.right { "hit right" } else { "hit" };
            write!(f, "<div class=\"{class}\">{}<small>{:.2}</small></div>", hit.item, hit.score)?;
        }
        f.write_str("</div></section>")
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Shown::Text(text) => write!(f, "<span>{}</span>", Escaped(text)),
            Shown::Picture(picture, name) => {
                write!(f, "<img src=\"{}\" alt=\"{name}\" title=\"{name}\">", picture.data_uri(), name = Escaped(name))
            }
        }
    }
}
