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
                let whole = |source: &Source| Source { sample: None, seed: 0, limit: None, ..source.clone() };
                whole(&set.source) == whole(&entry.train)
                    && set.columns == columns
                    && set.members.iter().all(|known| known.names() == member.names())
            };
            match sets.iter_mut().find(is_same) {
                Some(set) => {
                    // Of samples of several sizes, the largest: it holds the others.
                    let most = |source: &Source| source.sample.unwrap_or(usize::MAX);
                    if most(&entry.train) > most(&set.source) {
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
