//! The cache's latents: export to a file, removal.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::encode::{complete, items};
use super::{Error, Session};
use crate::array_file::{ArrayFile, Matrix};
use crate::cache::{Entry, Fingerprint, Key, Known, list};
use crate::config::{Recipe, TowerSource};
use crate::dataset::Column;
use crate::encode::{Encoding, Summary, Wanted, keys};
use crate::latents::Latents;
use crate::plugin::LoadedEncoder;

/// A file of latents.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Rows, including those without a latent.
    pub rows: usize,
    /// Values a row.
    pub width: usize,
    /// The counts of the encoding before it.
    pub summary: Summary,
}

/// The choice of entries to remove from the cache: those for which everything holds that is given.
#[derive(Clone, Debug, Default)]
pub struct Prune {
    /// The encoder's name.
    pub encoder: Option<String>,
    /// The least time since the last latent was stored.
    pub unused_for: Option<Duration>,
    /// No tower of these recipes has an encoder, as plugins.toml configures it now, with the entry's fingerprint.
    pub unused_by: Vec<PathBuf>,
}

impl Session {
    /// The entries of the cache that a choice means.
    pub fn prunable(&self, choice: &Prune) -> Result<Vec<Entry>, Error> {
        let mut used = HashSet::new();
        for path in &choice.unused_by {
            for tower in Recipe::read(path)?.towers {
                let TowerSource::Encoders(names) = tower.source else { continue };
                for name in names {
                    let encoder = self.encoder(&name)?;
                    used.insert(Fingerprint::new(encoder.fingerprint.clone()).hex().to_owned());
                }
            }
        }
        let now = SystemTime::now();
        let is_meant = |entry: &Entry| {
            let age = || now.duration_since(entry.modified().ok()?).ok();
            choice.encoder.as_ref().is_none_or(|name| entry.info.encoders.contains(name))
                && choice.unused_for.is_none_or(|least| age().is_some_and(|age| age >= least))
                && !used.contains(&entry.fingerprint)
        };
        Ok(list(&self.cache()?)?.into_iter().filter(is_meant).collect())
    }

    /// Forgets the latents of a column's items, which the next run encodes again; returns how many there were.
    pub fn forget_column(&self, column: Column<'_>, encoder: &Arc<LoadedEncoder>) -> Result<usize, Error> {
        let mut keys: Vec<Key> =
            keys(items(column, encoder), self.files()?, &self.stop).into_iter().flatten().collect();
        if self.should_stop() {
            return Err(Error::Stopped);
        }
        keys.sort_unstable();
        keys.dedup();
        let shelf = self.shelf(encoder)?;
        let known = shelf.known(&keys)?;
        let is_latent = |known: &Option<Known>| matches!(known, Some(Known::Row(_) | Known::Damaged));
        let there: Vec<Key> =
            keys.iter().zip(&known).filter(|(_, known)| is_latent(known)).map(|(key, _)| *key).collect();
        if !there.is_empty() {
            shelf.store()?.forget(&there)?;
        }
        Ok(there.len())
    }

    /// Writes the latents of a column to `out`, encoding missing ones, with the `ids` of its rows; rows without a
    /// latent are NaN.
    pub fn export(
        &self,
        column: Column<'_>,
        ids: Option<Column<'_>>,
        encoder: &Arc<LoadedEncoder>,
        out: &Path,
    ) -> Result<Exported, Error> {
        let file = ArrayFile::create(out, ids.map(|ids| ids.ids()).transpose()?)?;
        let shelf = self.shelf(encoder)?;
        let Encoding { places, summary, .. } = complete(self.fill(column, encoder, &shelf, Wanted::placed())?)?;
        let no_latent = || Error::NoLatent { path: column.source().to_owned(), column: column.name().to_owned() };
        let width = shelf.width()?.ok_or_else(no_latent)?;
        let latents = shelf.latents(places.rows.iter().flatten().copied().collect())?;
        let present = places.rows.iter().map(Option::is_some).collect();
        let mut written = file.begin(Matrix { name: "latents", width, present })?;
        let mut values = vec![0.0; width];
        for index in 0..latents.len() {
            latents.copy_row(index, &mut values);
            written.row(&values)?;
        }
        written.finish()?;
        Ok(Exported { rows: places.rows.len(), width, summary })
    }
}
