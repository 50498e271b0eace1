//! What a use-case would send and cost, before anything is sent.

use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::compare::check_distinct;
use super::fit::{Plan, takes_unpaired};
use super::model::Model;
use super::towers::Towers;
use super::{Error, Session};
use crate::config::{ChosenBy, Method, PairEnd, Pairs, Recipe, Subset, UnpairedEntry};
use crate::dataset::{Dataset, Item, Source};
use crate::device::DeviceChoice;
use crate::encode::{Forecast, Wanted};

/// The forecast of encoding a column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ColumnForecast {
    /// The table.
    pub file: PathBuf,
    /// The column.
    pub column: String,
    /// The encoder's name in plugins.toml.
    pub encoder: String,
    /// The rows of the table.
    #[serde(skip)]
    pub source: Source,
    /// The counts. Items that several columns hold are sent once, but counted in each.
    #[serde(flatten)]
    pub forecast: Forecast,
}

/// Items that are sent, and their cost where the encoders have prices.
pub type ItemsForecast = (usize, Option<f64>);

/// The columns that a use-case encodes, each once for each encoder.
#[derive(Default)]
pub(super) struct Columns {
    known: BTreeSet<(Source, String, String)>,
    pub(super) all: Vec<ColumnForecast>,
}

impl Session {
    /// The forecast of fitting a recipe: of its training and validation files.
    pub fn forecast_fit(&self, recipe: &Recipe) -> Result<Vec<ColumnForecast>, Error> {
        let towers = Towers::new(self, recipe, None);
        Plan::new(self, recipe)?.check(&towers)?;
        let mut columns = Columns::default();
        columns.add_recipe(&towers, recipe, None)?;
        Ok(columns.all)
    }

    /// The forecast of [`Session::compare`].
    pub fn forecast_comparison(
        &self,
        runs: &[PathBuf],
        (data, columns): (&[Source], &[(String, Vec<String>)]),
        device: DeviceChoice,
    ) -> Result<Vec<ColumnForecast>, Error> {
        check_distinct(runs)?;
        let (mut all, mut files) = (Vec::<ColumnForecast>::new(), data.to_vec());
        for run in runs {
            let model = self.model(run, device)?.with_columns(columns)?;
            if files.is_empty() {
                files = model.test_files();
            }
            for file in &files {
                for column in model.forecast_evaluation(Some(file))? {
                    let key = |of: &ColumnForecast| (of.source.clone(), of.column.clone(), of.encoder.clone());
                    if !all.iter().any(|known| key(known) == key(&column)) {
                        all.push(column);
                    }
                }
            }
        }
        Ok(all)
    }
}

impl Model {
    /// The forecast of [`Model::evaluate`].
    pub fn forecast_evaluation(&self, data: Option<&Source>) -> Result<Vec<ColumnForecast>, Error> {
        let (towers, mut columns, mut any) = (self.towers(), Columns::default(), false);
        for entry in &self.recipe.pairs {
            if let Some(source) = self.tested(data, entry) {
                any |= columns.add_pairs(&towers, &source, &entry.ends)?;
            }
        }
        match (any, data) {
            (true, _) => Ok(columns.all),
            (false, Some(data)) => Err(Error::OtherColumns { path: data.path.clone() }),
            (false, None) => Err(Error::NoTest),
        }
    }

    /// The forecast of encoding a column for a tower; the default column if none is named.
    pub fn forecast_column(
        &self,
        tower: &str,
        data: impl Into<Source>,
        column: Option<&str>,
    ) -> Result<Vec<ColumnForecast>, Error> {
        let (tower, source) = (self.tower(tower)?, data.into());
        let (file, column) = self.items_beside(tower, &source, column, Some(Vec::new()))?;
        let mut columns = Columns::default();
        columns.add(&self.towers(), &source, &file, (tower, &column))?;
        Ok(columns.all)
    }

    /// The number of items that [`Model::embed`] would send, and their cost where the encoders have prices.
    pub fn forecast_items(&self, tower: &str, items: &[Item<'_>]) -> Result<ItemsForecast, Error> {
        let (mut sent, mut cost) = (0, None);
        for encoder in self.towers().encoders(self.tower(tower)?)? {
            let (new, price) = self.session.unknown(&encoder, items)?;
            sent += new;
            if let Some(price) = price {
                *cost.get_or_insert(0.0) += price;
            }
        }
        Ok((sent, cost))
    }
}

impl Columns {
    /// What fitting a recipe encodes, and judging it on some pairs, if it is judged.
    pub(super) fn add_recipe(&mut self, towers: &Towers<'_>, recipe: &Recipe, on: Option<Pairs>) -> Result<(), Error> {
        if recipe.method == Method::Identity {
            return self.add_unfitted(towers, recipe, on);
        }
        let on = on.unwrap_or(Pairs::Validation);
        for entry in &recipe.pairs {
            let others = [entry.validation.as_ref(), entry.test.as_ref().filter(|_| on == Pairs::Test)];
            if let Some(Subset { by: ChosenBy::Run(run), .. }) = &entry.subset {
                let (model, ends) = towers.session().judge(run, recipe, &entry.ends)?;
                self.add_pairs(&model.towers(), &entry.train, &ends)?;
            }
            for source in [Some(&entry.train)].into_iter().chain(others).flatten() {
                self.add_pairs(towers, source, &entry.ends)?;
            }
        }
        for UnpairedEntry { train, end } in recipe.unpaired.iter().filter(|_| takes_unpaired(recipe)) {
            let file = towers.session().data(train)?;
            self.add(towers, train, &file, (end.tower, &end.column))?;
        }
        Ok(())
    }

    /// What judging a recipe encodes whose towers are in one space already: of its training pairs, only the items of
    /// encoders that do not tell the width of their latents.
    fn add_unfitted(&mut self, towers: &Towers<'_>, recipe: &Recipe, on: Option<Pairs>) -> Result<(), Error> {
        for entry in &recipe.pairs {
            let judged = match on {
                Some(Pairs::Test) => entry.test.as_ref(),
                Some(Pairs::Validation) => entry.validation.as_ref(),
                None => None,
            };
            for end in &entry.ends {
                if towers.described_width(end.tower)?.is_none() {
                    let file = towers.session().data(&entry.train)?;
                    self.add(towers, &entry.train, &file, (end.tower, &end.column))?;
                }
            }
            judged.map(|source| self.add_pairs(towers, source, &entry.ends)).transpose()?;
        }
        Ok(())
    }

    /// Both sides of a pair set; false if the file lacks one.
    fn add_pairs(&mut self, towers: &Towers<'_>, source: &Source, ends: &[PairEnd; 2]) -> Result<bool, Error> {
        if self.knows(towers, source, ends)? {
            return Ok(true);
        }
        let file = towers.session().data(source)?;
        let is_there = ends.iter().all(|end| file.rows(&end.column).is_ok());
        if is_there {
            ends.iter().try_for_each(|end| self.add(towers, source, &file, (end.tower, &end.column)))?;
        }
        Ok(is_there)
    }

    /// True if all that a pair set encodes of a file is there.
    fn knows(&self, towers: &Towers<'_>, source: &Source, ends: &[PairEnd; 2]) -> Result<bool, Error> {
        for end in ends {
            let encoders = towers.encoders(end.tower)?;
            let of = |name: &str| (source.clone(), end.column.clone(), name.to_owned());
            if encoders.is_empty() || !encoders.iter().all(|encoder| self.known.contains(&of(&encoder.name))) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// A tower's column of a file.
    fn add(
        &mut self,
        towers: &Towers<'_>,
        source: &Source,
        file: &Dataset,
        (tower, column): (usize, &str),
    ) -> Result<(), Error> {
        // Latents that are there cost nothing.
        let Dataset::Table(table) = file else { return Ok(()) };
        for encoder in towers.encoders(tower)? {
            let key = (source.clone(), column.to_owned(), encoder.name.clone());
            if self.known.contains(&key) {
                continue;
            }
            let forecast = towers.session().forecast(table.column(column)?, &encoder, Wanted::default())?;
            let forecast = forecast.ok_or(Error::Stopped)?;
            let (source, column, encoder) = key.clone();
            self.all.push(ColumnForecast { file: file.path().to_owned(), column, encoder, source, forecast });
            self.known.insert(key);
        }
        Ok(())
    }
}

/// Counts what is to be sent of several samples of one file once: a larger one of the same seed holds the smaller ones.
pub(super) fn count_once(columns: &mut [ColumnForecast]) {
    let key = |of: &ColumnForecast| (of.column.clone(), of.encoder.clone());
    for at in 0..columns.len() {
        let is_within = |other: usize| {
            let (own, whole) = (&columns[at], &columns[other]);
            let is_its = key(own) == key(whole) && own.source != whole.source && holds(&whole.source, &own.source);
            // Of two that hold each other, the first counts.
            is_its && (other < at || !holds(&own.source, &whole.source))
        };
        if (0..columns.len()).any(is_within) {
            let Forecast { items, requests, tokens, cost, seconds, .. } = &mut columns[at].forecast;
            (*items, *requests, *tokens) = (0, 0, 0);
            *cost = cost.map(|_| 0.0);
            *seconds = seconds.map(|_| 0.0);
        }
    }
}

/// True if the rows of a source are all among those of another one of the same file.
fn holds(whole: &Source, part: &Source) -> bool {
    let same = Source { sample: None, seed: 0, limit: None, best: None, ..whole.clone() }
        == Source { sample: None, seed: 0, limit: None, best: None, ..part.clone() };
    let most = |of: Option<usize>| of.unwrap_or(usize::MAX);
    let is_sampled = whole.sample.is_none() || whole.seed == part.seed && part.sample.is_some();
    let is_first = whole.limit.is_none() || part.limit.is_some();
    same && whole.best.is_none()
        && is_sampled
        && is_first
        && most(whole.sample) >= most(part.sample)
        && most(whole.limit) >= most(part.limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_within_a_larger_one_of_the_same_seed() {
        let of = |sample: Option<usize>, seed: u64, limit: Option<usize>| Source {
            sample,
            seed,
            limit,
            ..Source::new("a.tsv")
        };
        assert!(holds(&of(Some(200), 0, None), &of(Some(100), 0, None)));
        assert!(holds(&of(None, 0, None), &of(Some(100), 3, None)));
        assert!(holds(&of(None, 0, Some(9)), &of(None, 0, Some(5))));
        assert!(!holds(&of(Some(100), 0, None), &of(Some(200), 0, None)));
        assert!(!holds(&of(Some(200), 0, None), &of(Some(100), 1, None)));
        assert!(!holds(&of(Some(200), 0, None), &of(None, 0, Some(100))));
        assert!(!holds(&of(None, 0, Some(200)), &of(Some(100), 0, None)));
        let best = Source { best: Some((10, "score".to_owned())), ..of(Some(100), 0, None) };
        assert!(holds(&of(Some(200), 0, None), &best) && !holds(&best, &of(Some(5), 0, None)));
        assert!(!holds(&of(None, 0, None), &Source::new("b.tsv")));
    }
}
