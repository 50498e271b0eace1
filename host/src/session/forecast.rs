//! What a use-case would send and cost, before anything is sent.

use serde::Serialize;
use std::collections::BTreeSet;
use std::path::PathBuf;

use super::compare::check_distinct;
use super::fit::{Plan, takes_unpaired};
use super::model::Model;
use super::towers::Towers;
use super::{Error, Session};
use crate::config::{ChosenBy, PairEnd, Pairs, Recipe, Subset, UnpairedEntry};
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
        columns.add_recipe(&towers, recipe, Pairs::Validation)?;
        Ok(columns.all)
    }

    /// The forecast of encoding the pairs of some files, each column once for each encoder.
    pub(super) fn forecast_pairs<'a>(
        &self,
        pairs: impl Iterator<Item = (&'a Recipe, &'a Source, &'a [PairEnd; 2])>,
    ) -> Result<Vec<ColumnForecast>, Error> {
        let mut columns = Columns::default();
        for (recipe, source, ends) in pairs {
            columns.add_pairs(&Towers::new(self, recipe, None), source, ends)?;
        }
        Ok(columns.all)
    }

    /// The forecast of [`Session::compare`].
    pub fn forecast_comparison(
        &self,
        runs: &[PathBuf],
        data: &[PathBuf],
        device: DeviceChoice,
    ) -> Result<Vec<ColumnForecast>, Error> {
        check_distinct(runs)?;
        let (mut all, mut files) = (Vec::<ColumnForecast>::new(), data.iter().map(Source::from).collect::<Vec<_>>());
        for run in runs {
            let model = self.model(run, device)?;
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
        let (file, column) = self.items_in(tower, &source, column)?;
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
    /// What fitting a recipe encodes, and judging it on these pairs.
    pub(super) fn add_recipe(&mut self, towers: &Towers<'_>, recipe: &Recipe, on: Pairs) -> Result<(), Error> {
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
