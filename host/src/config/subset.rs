//! The part of the training pairs that a recipe takes for what they are: the best ones, or the most different.

use std::path::{Path, PathBuf};

use super::toml_file::absolute;
use super::tower::TowerEntry;
use crate::wording::{short_path, suggest};

/// The keys of `[[pairs]]` that choose them.
pub(super) const SUBSET: [&str; 5] = [QUALITY, QUALITY_BY, QUALITY_RUN, DIVERSITY, DIVERSITY_BY];
const QUALITY: &str = "quality";
const QUALITY_BY: &str = "quality_by";
const QUALITY_RUN: &str = "quality_run";
const DIVERSITY: &str = "diversity";
const DIVERSITY_BY: &str = "diversity_by";

/// The part of the training pairs that is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subset {
    /// Pairs, if there are so many.
    pub pairs: usize,
    /// What tells which.
    pub by: ChosenBy,
}

/// What tells which pairs are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChosenBy {
    /// `quality_run`: the largest similarities between a pair's items in the space of a run.
    Run(PathBuf),
    /// `diversity`: the most different items of a tower, by its latents.
    Different(usize),
}

/// What the keys of a pair set choose by: the latents of pairs, or a column of the training file.
#[derive(Default)]
pub(super) struct Chosen {
    pub(super) subset: Option<Subset>,
    /// Rows, and the column with their scores.
    pub(super) best: Option<(usize, String)>,
}

impl Chosen {
    /// That of the keys of a pair set; `ends` are its towers.
    ///
    /// # Errors
    /// The key that is wrong, and why.
    pub(super) fn parse(
        table: &toml::Table,
        towers: &[TowerEntry],
        ends: [usize; 2],
        folder: &Path,
    ) -> Result<Self, (&'static str, String)> {
        let by = |pairs, by| Ok(Self { subset: Some(Subset { pairs, by }), best: None });
        let text = |key: &'static str| match table.get(key) {
            None => Ok(None),
            Some(value) => match value.as_str().filter(|text| !text.trim().is_empty()) {
                Some(text) => Ok(Some(text)),
                None => Err((key, format!("`{key} = {value}` of [[pairs]] must be text, in quotes"))),
            },
        };
        let pairs = |key: &'static str| match table.get(key) {
            None => Ok(None),
            Some(value) => match value.as_integer().filter(|pairs| *pairs >= 1) {
                Some(pairs) => Ok(Some(pairs as usize)),
                None => Err((key, format!("`{key} = {value}` of [[pairs]] must be a number of pairs, 1 or more"))),
            },
        };
        let (quality, diversity) = (pairs(QUALITY)?, pairs(DIVERSITY)?);
        let (column, run, tower) = (text(QUALITY_BY)?, text(QUALITY_RUN)?, text(DIVERSITY_BY)?);
        let alone = |key, of: &str| Err((key, format!("`{key}` is for `{of} = N`, a number of pairs; add it")));
        match (quality, column, run, diversity, tower) {
            (None, Some(_), ..) => alone(QUALITY_BY, QUALITY),
            (None, _, Some(_), ..) => alone(QUALITY_RUN, QUALITY),
            (_, _, _, None, Some(_)) => alone(DIVERSITY_BY, DIVERSITY),
            (Some(_), _, _, Some(_), _) => {
                Err((DIVERSITY, "`quality` and `diversity` each choose the pairs; remove one of them".to_owned()))
            }
            (Some(_), Some(_), Some(_), ..) => {
                Err((QUALITY_RUN, "`quality_by` and `quality_run` both score the pairs; remove one of them".to_owned()))
            }
            (Some(_), None, None, ..) => {
                let reason = "`quality` needs what tells it: `quality_by`, a column with numbers, or `quality_run`, a \
                              run whose space compares the items of a pair";
                Err((QUALITY, reason.to_owned()))
            }
            (Some(pairs), Some(column), None, ..) => Ok(Self { subset: None, best: Some((pairs, column.to_owned())) }),
            (Some(pairs), None, Some(run), ..) => by(pairs, ChosenBy::Run(short_path(&folder.join(run)))),
            (None, None, None, Some(pairs), tower) => {
                let name = |tower: usize| towers[tower].name.as_str();
                let of = |wanted: &str| ends.into_iter().find(|tower| name(*tower) == wanted);
                let tower = match tower {
                    None => ends[0],
                    Some(wanted) => of(wanted).ok_or_else(|| {
                        let suggestion = suggest(wanted, ends.map(name));
                        (DIVERSITY_BY, format!("this [[pairs]] has no tower `{wanted}`{suggestion}"))
                    })?,
                };
                by(pairs, ChosenBy::Different(tower))
            }
            (None, None, None, None, None) => Ok(Self::default()),
        }
    }
}

/// Scores as TOML.
pub(super) fn best_to_toml((rows, column): &(usize, String)) -> toml::Table {
    let keys = [(QUALITY, (*rows as i64).into()), (QUALITY_BY, column.clone().into())];
    keys.into_iter().map(|(key, value): (&str, toml::Value)| (key.to_owned(), value)).collect()
}

impl Subset {
    /// It as TOML, with an absolute path.
    pub(super) fn to_toml(&self, towers: &[TowerEntry]) -> toml::Table {
        let (count, of, value) = match &self.by {
            ChosenBy::Run(path) => (QUALITY, QUALITY_RUN, absolute(path)),
            ChosenBy::Different(tower) => (DIVERSITY, DIVERSITY_BY, towers[*tower].name.clone().into()),
        };
        toml::Table::from_iter([(count.to_owned(), (self.pairs as i64).into()), (of.to_owned(), value)])
    }
}
