//! The towers of a recipe at work: their encoders, opened when they are needed, and their items out of files.

use anyhow::{Result, bail};
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::encode::{fill, line};
use super::session::Session;
use crate::cache::{Key, Store};
use crate::dataset::{Column, DataError, DataFile, Table};
use crate::encode::Wanted;
use crate::latents::{Concatenated, Latents};
use crate::pairs::Side;
use crate::plugin::LoadedEncoder;
use crate::recipe::{PairEnd, Recipe, TowerSource};
use crate::run::{EncoderInfo, RunInfo, TowerInfo};

/// Ctrl-C, for commands that have nothing to show without the rest.
#[derive(Debug, thiserror::Error)]
#[error("stopped; what was encoded is kept, so run it again to go on")]
pub(super) struct Stopped;

/// The towers of a recipe.
pub(super) struct Towers<'a> {
    session: &'a Session,
    recipe: &'a Recipe,
    /// The run that they must be as in.
    trained: Option<&'a RunInfo>,
    encoders: RefCell<HashMap<String, Arc<LoadedEncoder>>>,
    /// By fingerprint, while a tower is encoded: two of its encoders may share one.
    stores: RefCell<HashMap<BTreeMap<String, String>, Arc<Store>>>,
    /// Values of a latent, by tower: what the run says, or the first file.
    widths: RefCell<Vec<Option<usize>>>,
}

impl<'a> Towers<'a> {
    /// Those of a recipe; with a run, an encoder that is not as it was in that run is refused.
    pub(super) fn new(session: &'a Session, recipe: &'a Recipe, trained: Option<&'a RunInfo>) -> Self {
        let width = |tower: usize| Some(trained?.towers.get(tower)?.width);
        let widths = RefCell::new((0..recipe.towers.len()).map(width).collect());
        Self { session, recipe, trained, encoders: RefCell::default(), stores: RefCell::default(), widths }
    }

    /// The encoders of a tower, in order; none if it is precomputed.
    pub(super) fn encoders(&self, tower: usize) -> Result<Vec<Arc<LoadedEncoder>>> {
        let TowerSource::Encoders(names) = &self.recipe.towers[tower].source else { return Ok(Vec::new()) };
        let encoders = names.iter().map(|name| self.encoder(name)).collect::<Result<Vec<_>>>()?;
        if let Some(info) = self.trained {
            info.towers[tower]
                .encoders
                .iter()
                .zip(&encoders)
                .try_for_each(|(trained, present)| trained.verify(present))?;
        }
        Ok(encoders)
    }

    fn encoder(&self, name: &str) -> Result<Arc<LoadedEncoder>> {
        let known = self.encoders.borrow().get(name).cloned();
        let encoder = match known {
            Some(encoder) => encoder,
            None => self.session.open(name)?,
        };
        self.encoders.borrow_mut().insert(name.to_owned(), encoder.clone());
        Ok(encoder)
    }

    /// The name of a tower's modality; none if it is precomputed.
    pub(super) fn modality(&self, tower: usize) -> Result<Option<String>> {
        let encoders = self.encoders(tower)?;
        let Some((first, others)) = encoders.split_first() else { return Ok(None) };
        let modality = first.description.modality.name();
        if let Some(other) = others.iter().find(|other| other.description.modality.name() != modality) {
            let (tower, other_modality) = (&self.recipe.towers[tower].name, other.description.modality.name());
            let message = format!(
                "tower `{tower}` concatenates encoders of one modality, but `{}` takes {modality} and `{}` takes \
                 {other_modality}; give each its own tower",
                first.name, other.name
            );
            return Err(self.recipe.file.error_at(&["tower", tower, "encoders"], message).into());
        }
        Ok(Some(modality.to_owned()))
    }

    /// What a run folder says of a tower, some of whose items have been read.
    pub(super) fn info(&self, tower: usize) -> Result<TowerInfo> {
        let encoders = self.encoders(tower)?.iter().map(|encoder| EncoderInfo::of(encoder)).collect();
        let width = self.widths.borrow()[tower].expect("a tower's first items tell the width");
        Ok(TowerInfo { name: self.recipe.towers[tower].name.clone(), width, encoders })
    }

    /// Values of a latent as far as the encoders say before they have encoded anything.
    pub(super) fn described_width(&self, tower: usize) -> Result<Option<usize>> {
        let encoders = self.encoders(tower)?;
        let width = encoders.iter().map(|encoder| encoder.description.width).sum::<Option<usize>>();
        Ok(width.filter(|_| !encoders.is_empty()))
    }

    /// A tower's items in a column, with their latents, at least one and all of the tower's width; those that are not in
    /// the cache are encoded.
    pub(super) fn side(&self, tower: usize, file: &DataFile, column: &str) -> Result<Side> {
        let side = self.read(tower, file, column)?;
        let path = file.path();
        if side.latents.is_empty() {
            bail!("no item in column `{column}` of {} has a latent", path.display());
        }
        let width = side.latents.width();
        match self.widths.borrow_mut()[tower].replace(width) {
            Some(other) if other != width => {
                let (path, tower) = (path.to_owned(), self.recipe.towers[tower].name.clone());
                Err(DataError::Width { path, tower, width, other }.into())
            }
            _ => Ok(side),
        }
    }

    /// Both sides of a pair set in `file`, row by row.
    pub(super) fn sides(&self, ends: &[PairEnd; 2], file: &DataFile) -> Result<[Side; 2]> {
        let [first, second] = ends;
        file.paired_rows([&first.column, &second.column])?;
        Ok([self.side(first.tower, file, &first.column)?, self.side(second.tower, file, &second.column)?])
    }

    fn read(&self, tower: usize, file: &DataFile, column: &str) -> Result<Side> {
        let kind = |precomputed| {
            let (path, tower) = (file.path().to_owned(), self.recipe.towers[tower].name.clone());
            DataError::Kind { path, tower, precomputed }
        };
        match (&self.recipe.towers[tower].source, file) {
            (TowerSource::Encoders(_), DataFile::Table(table)) => self.encoded(tower, table.column(column)?, true),
            (TowerSource::Precomputed, DataFile::Precomputed(file)) => {
                let latents = file.column(column)?;
                let key = |row| Some(Key(blake3::hash(latents.row_bytes(row)).into()));
                Ok(Side { keys: (0..latents.len()).map(key).collect(), latents: Box::new(latents) })
            }
            (TowerSource::Encoders(_), _) => Err(kind(false).into()),
            (TowerSource::Precomputed, _) => Err(kind(true).into()),
        }
    }

    /// A row has a latent if every encoder of the tower gives it one. `summarise` says what was encoded.
    fn encoded(&self, tower: usize, column: Column<'_>, summarise: bool) -> Result<Side> {
        let mut keys: Vec<Option<Key>> = Vec::new();
        let mut parts = Vec::new();
        self.modality(tower)?;
        for encoder in self.encoders(tower)? {
            let known = self.stores.borrow().get(&encoder.fingerprint).cloned();
            let store = match known {
                Some(store) => store,
                None => Arc::new(self.session.store(&encoder)?),
            };
            self.stores.borrow_mut().insert(encoder.fingerprint.clone(), store.clone());
            let wanted = Wanted { places: true, ..Wanted::default() };
            let mut encoding = fill(self.session, &encoder, &store, column, wanted);
            let error = encoding.error.take();
            if encoding.summary.stopped {
                bail!(Stopped);
            }
            let summary = &encoding.summary;
            if summarise && (self.trained.is_none() || summary.encoded + summary.failed > 0 || error.is_some()) {
                let (path, name) = (column.source().display(), column.name());
                eprintln!("{path}, column `{name}`: {}", line(&encoder.name, summary));
            }
            if let Some(error) = error {
                return Err(error.into());
            }
            if parts.is_empty() {
                keys = encoding.places.keys;
            }
            let rows = encoding.places.rows;
            keys.iter_mut().zip(&rows).filter(|(_, row)| row.is_none()).for_each(|(key, _)| *key = None);
            parts.push((store, rows));
        }
        // Whoever else wants to read or encode may do so now.
        self.stores.borrow_mut().clear();
        let present = |rows: Vec<Option<u64>>| -> Vec<u64> {
            rows.into_iter().zip(&keys).filter(|(_, key)| key.is_some()).flat_map(|(row, _)| row).collect()
        };
        let latents =
            parts.into_iter().map(|(store, rows)| Ok(Box::new(store.latents(present(rows))?) as Box<dyn Latents>));
        let mut latents = latents.collect::<Result<Vec<_>>>()?;
        let latents = if latents.len() == 1 { latents.remove(0) } else { Box::new(Concatenated::new(latents)) };
        Ok(Side { keys, latents })
    }

    /// The latent of an item that comes from no file: text, or the path of a file.
    pub(super) fn query(&self, tower: usize, item: &str) -> Result<Box<dyn Latents>> {
        let name = &self.recipe.towers[tower].name;
        if self.recipe.towers[tower].source == TowerSource::Precomputed {
            bail!("tower `{name}` is precomputed: it has no encoder for a query; search from another tower");
        }
        let table = Table::of_one("the query".as_ref(), name, item.as_bytes());
        let side = self.encoded(tower, table.column(name)?, false)?;
        if side.latents.is_empty() {
            let start: String = item.chars().take(40).collect();
            bail!("the query {start:?}{} has no latent", if start.len() < item.len() { "..." } else { "" });
        }
        Ok(side.latents)
    }
}
