//! The pair sets of a probe, what is looked at on each, two towers with their encoders, and what gives their latents.

use crate::config::{PairEnd, Sweep, TowerSource, Variation};
use crate::dataset::Source;

/// Two towers with the encoders of a variation.
pub(super) struct Member<'a> {
    pub(super) variation: &'a Variation,
    pub(super) ends: &'a [PairEnd; 2],
}

/// Two towers that the pairs of a file join, with the encoders that they may have.
pub(super) struct ProbedSet<'a> {
    pub(super) source: Source,
    /// The columns of the towers' items.
    pub(super) columns: [String; 2],
    pub(super) members: Vec<Member<'a>>,
}

impl Member<'_> {
    fn names(&self) -> [&str; 2] {
        self.ends.each_ref().map(|end| self.variation.recipe.towers[end.tower].name.as_str())
    }

    /// The sources of its towers' latents.
    pub(super) fn sources(&self) -> [&TowerSource; 2] {
        self.ends.each_ref().map(|end| &self.variation.recipe.towers[end.tower].source)
    }
}

/// The pair sets of a sweep, each once; what else a sweep varies says nothing here.
pub(super) fn sets(sweep: &Sweep) -> Vec<ProbedSet<'_>> {
    let mut sets: Vec<ProbedSet<'_>> = Vec::new();
    for variation in &sweep.variations {
        for entry in &variation.recipe.pairs {
            let member = Member { variation, ends: &entry.ends };
            let columns = entry.ends.each_ref().map(|end| end.column.clone());
            let is_same = |set: &&mut ProbedSet<'_>| {
                let whole = |of: &Source| {
                    let best = of.best.as_ref().map(|(_, column)| (0, column.clone()));
                    Source { sample: None, seed: 0, limit: None, best, ..of.clone() }
                };
                whole(&set.source) == whole(&entry.train)
                    && set.columns == columns
                    && set.members.iter().all(|known| known.names() == member.names())
            };
            match sets.iter_mut().find(is_same) {
                Some(set) => {
                    // Of parts of one file, the largest: of several samples, limits or best ones, it holds the others.
                    if rows(&entry.train) > rows(&set.source) {
                        set.source = entry.train.clone();
                    }
                    if !set.members.iter().any(|known| known.sources() == member.sources()) {
                        set.members.push(member);
                    }
                }
                None => sets.push(ProbedSet { source: entry.train.clone(), columns, members: vec![member] }),
            }
        }
    }
    sets
}

/// The most rows that are taken of a file.
fn rows(source: &Source) -> usize {
    let best = source.best.as_ref().map(|(rows, _)| *rows);
    [source.sample, source.limit, best].into_iter().flatten().min().unwrap_or(usize::MAX)
}

/// The latents of drawn pairs by an encoder, or by a file of latents: none where there is none.
pub(super) type OfRows = Vec<Option<Vec<f32>>>;

/// What latents are by.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum By {
    Encoder(String),
    /// A file of latents, by all that a recipe says of it.
    File(String),
}

impl By {
    /// All that a tower's latents are by, in order.
    pub(super) fn all(source: &TowerSource) -> Vec<Self> {
        match source {
            TowerSource::Encoders(names) => names.iter().cloned().map(Self::Encoder).collect(),
            of_file => vec![Self::File(format!("{of_file:?}"))],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::TomlFile;

    /// The parts of the training file that are probed, where these keys choose among its rows.
    fn probed(keys: &str) -> Vec<usize> {
        let sweep = format!(
            "[tower.image]\nencoder = ['a', 'b']\n[tower.text]\nencoder = 'c'\n[[pairs]]\ntrain = 'train.tsv'\n\
             test = 'test.tsv'\nimage = 'file'\ntext = 'caption'\n{keys}\n"
        );
        let sweep = Sweep::parse(TomlFile::of(Path::new("sweep.toml"), sweep)).unwrap();
        let sets = sets(&sweep);
        assert!(sets.iter().all(|set| set.members.len() == 2));
        sets.iter().map(|set| rows(&set.source)).collect()
    }

    #[test]
    fn of_parts_of_one_file_the_largest_is_probed() {
        assert_eq!(probed("limit = [50, 2000, 100]"), [2000]);
        assert_eq!(probed("sample = [50, 2000, 100]"), [2000]);
        assert_eq!(probed("quality = [50, 2000]\nquality_by = 'score'"), [2000]);
        assert_eq!(probed("where = ['x = 1', 'x = 2']").len(), 2);
        assert_eq!(probed(""), [usize::MAX]);
    }
}
