//! The towers of a recipe: their encoders, opened when needed, and their items from files.

use fusemix_sdk::{Description, ItemKind, Modality};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

use super::encode::{complete, items};
use super::{Error, Session, locked};
use crate::cache::Key;
use crate::config::{ConfigError, DerivedEncoder, LatentRows, PairEnd, Recipe, TowerEntry, TowerSource};
use crate::dataset::{Column, DataError, Dataset, NamedLatents, Precomputed, PrecomputedLatents};
use crate::encode::{Wanted, keys};
use crate::latents::{Concatenated, Latents, Selected, magnitude};
use crate::pairs::Side;
use crate::plugin::LoadedEncoder;
use crate::run::{DerivedFrom, EncoderInfo, RunError, RunInfo, TowerInfo};
use crate::wording::{count, short_path};

/// The sizes of latents' values, as root mean squares, that f32 has room for in every method: squares of differences,
/// and variances beside the 1e-5 that a LayerNorm adds.
const ORDINARY: std::ops::Range<f64> = 1e-3..1e8;

/// Rows from 0, and their pairs by content.
pub(super) type KeysOfRows = (Vec<usize>, Vec<(Key, Key)>);

/// The towers of a recipe.
pub(super) struct Towers<'a> {
    session: &'a Session,
    recipe: &'a Recipe,
    /// The run whose encoders they must match.
    trained: Option<&'a RunInfo>,
    /// Values per latent, by tower: from the run, or from the first file.
    widths: Mutex<Vec<Option<usize>>>,
}

impl<'a> Towers<'a> {
    /// The towers of a recipe; with a run, an encoder that differs from that run's is refused.
    pub(super) fn new(session: &'a Session, recipe: &'a Recipe, trained: Option<&'a RunInfo>) -> Self {
        let width = |tower: usize| Some(trained?.towers.get(tower)?.width);
        let widths = Mutex::new((0..recipe.towers.len()).map(width).collect());
        Self { session, recipe, trained, widths }
    }

    pub(super) fn session(&self) -> &'a Session {
        self.session
    }

    pub(super) fn recipe(&self) -> &'a Recipe {
        self.recipe
    }

    fn entry(&self, tower: usize) -> &'a TowerEntry {
        &self.recipe.towers[tower]
    }

    /// The encoders of a tower, in order; none if it is precomputed.
    pub(super) fn encoders(&self, tower: usize) -> Result<Vec<Arc<LoadedEncoder>>, Error> {
        let TowerSource::Encoders(names) = &self.entry(tower).source else { return Ok(Vec::new()) };
        let config = &self.session.plugins()?.config;
        self.derive(tower, names)?;
        if let Some(ConfigError::At { message, .. }) = names.iter().find_map(|name| config.encoder(name).err()) {
            // The mistake may be the recipe's or that of plugins.toml; the recipe names what is not there.
            let run = self.trained.and(self.recipe.file.path().parent());
            let hint = run.map_or(String::new(), |run| {
                let run = run.display();
                format!("; `fusemix plugins init --run {run}` writes a plugins.toml with what the run was made with")
            });
            let message = format!("{message} in {}{hint}", config.file.path().display());
            return Err(self.recipe.file.error_at(&["tower", &self.entry(tower).name, "encoder"], message).into());
        }
        let encoders = names.iter().map(|name| self.session.encoder(name)).collect::<Result<Vec<_>, _>>()?;
        // Before anything is sent to another.
        encoders.iter().try_for_each(|encoder| self.session.shared.budget.allow(encoder).map(drop))?;
        if let Some(info) = self.trained {
            info.towers[tower]
                .encoders
                .iter()
                .zip(&encoders)
                .try_for_each(|(trained, present)| trained.verify(present))?;
        }
        Ok(encoders)
    }

    /// Sets up the encoders of a run that a sweep made, as the run notes them: plugins.toml has only those that they
    /// differ from. One that is there by its own name, as `plugins init --run` writes it, is taken as it is.
    fn derive(&self, tower: usize, names: &[String]) -> Result<(), Error> {
        let config = &self.session.plugins()?.config;
        let trained = self.trained.and_then(|run| run.towers.get(tower));
        for EncoderInfo { name, derived, .. } in trained.into_iter().flat_map(|tower| &tower.encoders) {
            let Some(DerivedFrom { encoder, changes }) = derived.as_ref().filter(|_| names.contains(name)) else {
                continue;
            };
            // Of one whose base is not there either, the caller tells.
            if config.encoder(encoder).is_ok() {
                let (file, base) = (self.recipe.file.clone(), encoder.clone());
                config.derive(&DerivedEncoder { file, base, name: name.clone(), changes: changes.clone() })?;
            }
        }
        Ok(())
    }

    /// The name of a tower's modality; none if it is precomputed.
    pub(super) fn modality(&self, tower: usize) -> Result<Option<String>, Error> {
        let encoders = self.encoders(tower)?;
        let Some((first, others)) = encoders.split_first() else { return Ok(None) };
        let modality = first.description.modality.name();
        if let Some(other) = others.iter().find(|other| other.description.modality.name() != modality) {
            let (tower, other_modality) = (&self.entry(tower).name, other.description.modality.name());
            let message = format!(
                "tower `{tower}` concatenates encoders of one modality, but `{}` takes {modality} and `{}` takes \
                 {other_modality}; give each its own tower",
                first.name, other.name
            );
            return Err(self.recipe.file.error_at(&["tower", tower, "encoders"], message).into());
        }
        Ok(Some(modality.to_owned()))
    }

    /// True if a tower's items are files; none if the items themselves tell.
    pub(super) fn holds_files(&self, tower: usize) -> Result<Option<bool>, Error> {
        let encoders = self.encoders(tower)?;
        let Some(Description { modality, items, .. }) = encoders.first().map(|encoder| &encoder.description) else {
            return Ok(Some(false));
        };
        Ok(match (modality, items) {
            (Modality::Text, _) | (Modality::Other(_), Some(ItemKind::Text)) => Some(false),
            (Modality::Image | Modality::Audio, _) | (Modality::Other(_), Some(ItemKind::File)) => Some(true),
            _ => None,
        })
    }

    /// A tower's entry in a run folder, once some of its items have been read.
    pub(super) fn info(&self, tower: usize) -> Result<TowerInfo, Error> {
        let encoders = self.encoders(tower)?.iter().map(|encoder| EncoderInfo::of(encoder)).collect();
        let width = self.widths()[tower].expect("a tower's first items tell the width");
        let rows = match &self.entry(tower).source {
            TowerSource::Rows(rows) => Some(self.session.named_latents(rows)?.identity().to_owned()),
            _ => None,
        };
        Ok(TowerInfo { name: self.entry(tower).name.clone(), width, encoders, rows })
    }

    /// The file that a tower's latents are rows of, which must be that of the run.
    pub(super) fn named_latents(&self, tower: usize, rows: &LatentRows) -> Result<Arc<NamedLatents>, Error> {
        let all = self.session.named_latents(rows)?;
        let trained = self.trained.and_then(|run| run.towers.get(tower)?.rows.as_ref());
        match trained.is_some_and(|trained| *trained != all.identity()) {
            true => Err(RunError::OtherLatents { file: rows.file.clone() }.into()),
            false => Ok(all),
        }
    }

    /// Values per latent, as far as the encoders know before they have encoded anything.
    pub(super) fn described_width(&self, tower: usize) -> Result<Option<usize>, Error> {
        let encoders = self.encoders(tower)?;
        let width = encoders.iter().map(|encoder| encoder.description.width).sum::<Option<usize>>();
        Ok(width.filter(|_| !encoders.is_empty()))
    }

    /// Takes the width of a tower's latents from its encoders; false if they do not tell it.
    pub(super) fn take_described(&self, tower: usize) -> Result<bool, Error> {
        let width = self.described_width(tower)?;
        if let Some(width) = width {
            self.widths()[tower] = Some(width);
        }
        Ok(width.is_some())
    }

    fn widths(&self) -> std::sync::MutexGuard<'_, Vec<Option<usize>>> {
        locked(&self.widths)
    }

    /// A tower's items in a column with their latents: at least one, and all of the tower's width. Items that are not
    /// in the cache are encoded.
    pub(super) fn side(&self, tower: usize, file: &Dataset, column: &str) -> Result<Side, Error> {
        let side = match (&self.entry(tower).source, file) {
            (TowerSource::Encoders(_), Dataset::Table(table)) => self.encoded(tower, table.column(column)?)?,
            (TowerSource::Precomputed | TowerSource::Rows(_), Dataset::Precomputed(file)) => precomputed(file, column)?,
            (TowerSource::Rows(rows), Dataset::Table(table)) => {
                named(&*self.named_latents(tower, rows)?, table.column(column)?)
            }
            (source, _) => {
                let (path, tower) = (file.path().to_owned(), self.entry(tower).name.clone());
                return Err(DataError::Kind { path, tower, precomputed: *source == TowerSource::Precomputed }.into());
            }
        };
        let path = file.path();
        if side.latents.is_empty() {
            return Err(Error::NoLatent { path: path.to_owned(), column: column.to_owned() });
        }
        if let Some(magnitude) = extraordinary(&*side.latents) {
            let (path, tower) = (short_path(path), &self.entry(tower).name);
            tracing::warn!(
                "{}: the latents of tower `{tower}` have values of about {magnitude:.0e}, too far from 1 to train on; \
                 multiply all of the tower's latents by about {:.0e}",
                path.display(),
                1.0 / magnitude,
            );
        }
        let width = side.latents.width();
        match self.widths()[tower].replace(width) {
            Some(other) if other != width => {
                let (path, tower) = (path.to_owned(), self.entry(tower).name.clone());
                Err(DataError::Width { path, tower, width, other }.into())
            }
            _ => Ok(side),
        }
    }

    /// Both sides of a pair set in `file`, row by row.
    pub(super) fn sides(&self, ends: &[PairEnd; 2], file: &Dataset) -> Result<[Side; 2], Error> {
        let [first, second] = ends;
        file.paired_rows([&first.column, &second.column])?;
        Ok([self.side(first.tower, file, &first.column)?, self.side(second.tower, file, &second.column)?])
    }

    /// The rows of a file, and their pairs by content, without encoding them.
    pub(super) fn keys(&self, ends: &[PairEnd; 2], file: &Dataset) -> Result<KeysOfRows, Error> {
        let of = |end: &PairEnd| match file {
            Dataset::Table(table) => {
                if let TowerSource::Rows(rows) = &self.entry(end.tower).source {
                    let all = self.named_latents(end.tower, rows)?;
                    return Ok(row_keys(all.latents(), &named_rows(&all, table.column(&end.column)?)));
                }
                let encoders = self.encoders(end.tower)?;
                let Some(encoder) = encoders.first() else { return Ok(Vec::new()) };
                let items = items(table.column(&end.column)?, encoder);
                Ok(keys(items, self.session.files()?, &self.session.stop))
            }
            Dataset::Precomputed(file) => Ok::<_, Error>(precomputed(file, &end.column)?.keys),
        };
        let (first, second) = (of(&ends[0])?, of(&ends[1])?);
        if self.session.should_stop() {
            return Err(Error::Stopped);
        }
        let whole = |(row, (first, second)): (usize, (Option<Key>, Option<Key>))| Some((row, (first?, second?)));
        Ok(first.into_iter().zip(second).enumerate().filter_map(whole).unzip())
    }

    /// Encodes a column for a tower; a row has a latent if every encoder of the tower has one for it.
    fn encoded(&self, tower: usize, column: Column<'_>) -> Result<Side, Error> {
        let mut keys: Vec<Option<Key>> = Vec::new();
        let mut parts = Vec::new();
        self.modality(tower)?;
        for encoder in self.encoders(tower)? {
            let shelf = self.session.shelf(&encoder)?;
            let encoding = complete(self.session.fill(column, &encoder, &shelf, Wanted::placed())?)?;
            if parts.is_empty() {
                keys = encoding.places.keys;
            }
            let rows = encoding.places.rows;
            keys.iter_mut().zip(&rows).filter(|(_, row)| row.is_none()).for_each(|(key, _)| *key = None);
            parts.push((shelf, rows));
        }
        let present = |rows: Vec<Option<u64>>| -> Vec<u64> {
            rows.into_iter().zip(&keys).filter(|(_, key)| key.is_some()).flat_map(|(row, _)| row).collect()
        };
        let latents =
            parts.into_iter().map(|(shelf, rows)| Ok(Box::new(shelf.latents(present(rows))?) as Box<dyn Latents>));
        let latents = side_by_side(latents.collect::<Result<_, Error>>()?);
        Ok(Side { keys, latents })
    }
}

/// The number of a row in messages, from 1: that of its file.
pub(super) fn row_number(file: &Dataset, row: usize) -> usize {
    if let Dataset::Table(table) = file { table.number(row) } else { row + 1 }
}

/// The size of latents' values, if f32 has no room for what every method makes of it.
pub(super) fn extraordinary(latents: &dyn Latents) -> Option<f64> {
    magnitude(latents).filter(|size| *size > 0.0 && !ORDINARY.contains(size))
}

/// The concatenated latents of several encoders, or those of one unchanged.
pub(super) fn side_by_side(mut latents: Vec<Box<dyn Latents>>) -> Box<dyn Latents> {
    if latents.len() == 1 { latents.remove(0) } else { Box::new(Concatenated::new(latents)) }
}

/// The key of a row of latents.
fn row_key(latents: &PrecomputedLatents, row: usize) -> Key {
    Key(blake3::hash(&latents.row_content(row)).into())
}

/// The row of the latents that each cell of a column names, or the reason why there is none.
fn named_rows(all: &NamedLatents, column: Column<'_>) -> Vec<Result<usize, String>> {
    (0..column.len()).map(|at| all.row(column.cell(at))).collect()
}

/// The content keys of rows.
fn row_keys(latents: &PrecomputedLatents, rows: &[Result<usize, String>]) -> Vec<Option<Key>> {
    rows.par_iter().map(|row| Some(row_key(latents, *row.as_ref().ok()?))).collect()
}

/// The latents that the cells of a column name.
fn named(all: &NamedLatents, column: Column<'_>) -> Side {
    let rows = named_rows(all, column);
    let lost = rows.iter().filter(|row| row.is_err()).count();
    if let Some((at, Err(reason))) = rows.iter().enumerate().find(|(_, row)| row.is_err()) {
        let row = column.number(at);
        let (path, name, lost) = (column.source().display(), column.name(), count(lost, "row"));
        tracing::warn!("{path}, column `{name}`: {lost} without a latent, the first row {row}: {reason}");
    }
    let keys = row_keys(all.latents(), &rows);
    let present = rows.into_iter().flatten().collect();
    Side { keys, latents: Box::new(Selected::new(all.latents().clone(), present)) }
}

/// The latents of a tensor, row by row.
fn precomputed(file: &Precomputed, column: &str) -> Result<Side, Error> {
    let (latents, missing) = file.column(column)?;
    let key = |row| Some(row_key(&latents, row));
    let mut keys: Vec<Option<Key>> = (0..latents.len()).into_par_iter().map(key).collect();
    missing.rows().for_each(|row| keys[row] = None);
    let present: Vec<usize> = (0..keys.len()).filter(|&row| keys[row].is_some()).collect();
    if present.len() == keys.len() {
        return Ok(Side { keys, latents: Box::new(latents) });
    }
    Ok(Side { keys, latents: Box::new(Selected::new(Arc::new(latents), present)) })
}
