//! What held-out items find, for the page of `fusemix report`.

use anyhow::Result;
use std::collections::BTreeMap;

use super::search::name;
use super::towers::Towers;
use super::trained::{Tested, Trained};
use crate::dataset::DataFile;
use crate::eval::nearest;
use crate::report::{Found, Hit, Picture, Shown};

/// Queries in the gallery, spread evenly over the file.
const QUERIES: usize = 24;
/// Items that a query shows, besides the best match where it is not among them.
const HITS: usize = 5;

/// What the queries of a direction find, and how they were chosen: from text to pictures where there are both, else from
/// text to other items, else from the second tower of the first pair set to its first.
pub(super) fn gallery(trained: &Trained, towers: &Towers<'_>, tested: &[Tested]) -> Result<(String, Vec<Found>)> {
    let mut ways = Vec::new();
    for tested in tested {
        let [first, second] = &tested.ends;
        let modalities = [towers.modality(first.tower)?, towers.modality(second.tower)?];
        ways.extend([(1, 0), (0, 1)].map(|(from, to)| Way { tested, modalities: modalities.clone(), from, to }));
    }
    // Of equal ones the first.
    let way = ways.iter().min_by_key(|way| way.preference()).expect("there is at least one pair set");
    let Way { tested, from, to, .. } = *way;
    let embeddings = tested.pairs.embed(&trained.fusion)?;
    let width = trained.fusion.width();
    let mut matches: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for &(first, second) in &tested.pairs.matches {
        let ends = [first, second];
        matches.entry(ends[from]).or_default().push(ends[to]);
    }
    let count = matches.len().min(QUERIES);
    let mut gallery = Vec::new();
    for (&query, right) in (0..count).filter_map(|at| matches.iter().nth(at * matches.len() / count)) {
        let embedding = &embeddings[from][query * width..(query + 1) * width];
        let order = nearest(embedding, &embeddings[to], usize::MAX);
        let best = order.iter().position(|(item, _)| right.contains(item)).expect("a query has a match");
        let shown = (0..order.len().min(HITS)).chain((best >= HITS).then_some(best));
        let hits = shown.map(|at| {
            let (item, score) = order[at];
            Ok(Hit { item: way.shown(to, item)?, rank: at + 1, score, right: right.contains(&item) })
        });
        gallery.push(Found { query: way.shown(from, query)?, rank: best + 1, hits: hits.collect::<Result<_>>()? });
    }
    let names = [from, to].map(|side| &trained.recipe.towers[tested.pairs.towers[side]].name);
    let choice = format!(
        "From {} to {}: {count} of the {} queries of {}, evenly spread over the file and not picked by how well they do.",
        names[0],
        names[1],
        matches.len(),
        tested.file_name()
    );
    Ok((choice, gallery))
}

/// A direction of a pair set: its sides' modalities, and which of them is searched from which.
struct Way<'a> {
    tested: &'a Tested,
    modalities: [Option<String>; 2],
    from: usize,
    to: usize,
}

impl Way<'_> {
    /// The least is the best to look at.
    fn preference(&self) -> usize {
        match [self.from, self.to].map(|side| self.modalities[side].as_deref()) {
            [Some("text"), Some("image")] => 0,
            [Some("text"), to] if to != Some("text") => 1,
            _ => 2,
        }
    }

    /// Item `item` of a side as a reader sees it.
    fn shown(&self, side: usize, item: usize) -> Result<Shown> {
        let (file, column) = (&*self.tested.file, &self.tested.ends[side].column);
        let row = self.tested.pairs.sides[side].rows[item];
        let name = name(file, column, row)?;
        let (Some("image"), DataFile::Table(table)) = (self.modalities[side].as_deref(), file) else {
            return Ok(Shown::Text(name));
        };
        Ok(match Picture::read(&table.column(column)?.file(row)) {
            Some(picture) => Shown::Picture(picture, name),
            None => Shown::Text(name),
        })
    }
}
