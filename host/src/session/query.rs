//! Queries: embedding items from memory, and finding the nearest items.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::model::Model;
use super::{Error, Session};
use crate::cache::{Key, Known};
use crate::config::TowerSource;
use crate::dataset::{Dataset, Item, Items};
use crate::encode::{Wanted, call};
use crate::eval::nearest;
use crate::latents::{Dense, Latents};
use crate::plugin::LoadedEncoder;

/// An embedding of length 1, or the reason why there is none.
pub type Embedding = Result<Vec<f32>, String>;

/// An item of a column that is near to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// The cosine with the query.
    pub score: f32,
    /// The first row with this item, from 0.
    pub row: usize,
    /// The item: its cell, or the row's number.
    pub item: String,
    /// The item's file, if it is one.
    pub file: Option<PathBuf>,
}

impl Model {
    /// The embeddings of items through a tower, in order. Latents come from the cache if it has them; new ones are
    /// stored only if `store` is true.
    pub fn embed(&self, tower: &str, items: &[Item<'_>], store: bool) -> Result<Vec<Embedding>, Error> {
        let index = self.recipe.tower(tower)?;
        if self.recipe.towers[index].source == TowerSource::Precomputed {
            return Err(Error::NoEncoder { tower: tower.to_owned() });
        }
        let mut latents: Vec<Embedding> = vec![Ok(Vec::new()); items.len()];
        for encoder in self.towers().encoders(index)? {
            let rows = match store {
                true => self.session.stored_latents(&encoder, items)?,
                false => self.session.latents(&encoder, items)?,
            };
            for (latent, row) in latents.iter_mut().zip(rows) {
                match (&mut *latent, row) {
                    (Ok(latent), Ok(row)) => latent.extend(row),
                    (Ok(_), Err(reason)) => *latent = Err(reason),
                    (Err(_), _) => {}
                }
            }
        }
        let width = self.info.towers[index].width;
        let rows: Vec<f32> = latents.iter().flatten().flatten().copied().collect();
        let embeddings = self.space.embed(index, &Dense::new(rows, width))?;
        let mut embeddings = embeddings.chunks(self.space.width()).map(<[f32]>::to_vec);
        Ok(latents.into_iter().map(|latent| latent.map(|_| embeddings.next().expect("one for each latent"))).collect())
    }

    /// The embedding of one item.
    pub fn embed_one(&self, tower: &str, item: Item<'_>, store: bool) -> Result<Vec<f32>, Error> {
        let query = item.name();
        let mut embeddings = self.embed(tower, &[item], store)?;
        embeddings.remove(0).map_err(|reason| Error::Query { query, reason })
    }

    /// The item that a command-line argument means for a tower: the text itself, or the file that it names.
    pub fn item<'a>(&self, tower: &str, word: &'a str) -> Result<Item<'a>, Error> {
        let modality = self.modality(tower)?;
        Ok(match modality.as_deref() {
            Some("image" | "audio") => Item::file(word),
            Some("text") | None => Item::text(word),
            Some(_) if Path::new(word).is_file() => Item::file(word),
            Some(_) => Item::text(word),
        })
    }

    /// The `k` distinct items of a column that are nearest to each of `queries`, nearest first.
    pub fn search_column(
        &self,
        queries: &[Vec<f32>],
        to: &str,
        data: &Path,
        column: Option<&str>,
        k: usize,
    ) -> Result<Vec<Vec<Found>>, Error> {
        let to = self.recipe.tower(to)?;
        let file = Dataset::open(data)?;
        let column = self.column(to, &file, column)?;
        let towers = self.towers();
        let items = towers.side(to, &file, &column)?.distinct();
        let embeddings = self.space.embed(to, &*items.latents)?;
        let is_text = towers.modality(to)?.is_some_and(|modality| modality == "text");
        let found = |(item, score): (usize, f32)| {
            let row = items.rows[item];
            // The cell is relative to the table; who reads this is elsewhere.
            let path = match &file {
                Dataset::Table(table) if !is_text => Some(table.column(&column)?.file(row)),
                _ => None,
            };
            Ok(Found { score, row, item: file.name(&column, row)?, file: path })
        };
        queries.iter().map(|query| nearest(query, &embeddings, k).into_iter().map(found).collect()).collect()
    }
}

impl Session {
    /// The latents of items by an encoder, which are not stored.
    fn latents(&self, encoder: &Arc<LoadedEncoder>, items: &[Item<'_>]) -> Result<Vec<Embedding>, Error> {
        let modality = &encoder.description.modality;
        let shelf = self.shelf(encoder)?;
        let bytes: Vec<Result<Vec<u8>, String>> =
            items.iter().map(|item| item.clone().read().map(|bytes| bytes.into_owned())).collect();
        let keys: Vec<Key> = bytes.iter().flatten().map(|bytes| Key::of(modality, bytes)).collect();
        let known = shelf.known(&keys)?;
        let stored = known.iter().filter_map(|known| if let Some(Known::Row(at)) = known { Some(*at) } else { None });
        let stored = shelf.latents(stored.collect())?;
        let is_new = |known: &Option<Known>| !matches!(known, Some(Known::Row(_)));
        let new = bytes.iter().flatten().zip(&known).filter(|(_, known)| is_new(known));
        let new: Vec<Vec<u8>> = new.map(|(bytes, _)| bytes.clone()).collect();
        let (mut known, mut next) = (known.into_iter(), 0..);
        let mut called = call_all(encoder, new)?.into_iter();
        let mut latent = |bytes: Result<Vec<u8>, String>| {
            bytes?;
            match known.next().flatten() {
                Some(Known::Row(_)) => {
                    let mut values = vec![0.0; stored.width()];
                    stored.copy_row(next.next().expect("there is no end"), &mut values);
                    Ok(values)
                }
                _ => called.next().expect("one for each new item"),
            }
        };
        Ok(bytes.into_iter().map(&mut latent).collect())
    }

    /// The latents of items by an encoder, which are stored.
    fn stored_latents(&self, encoder: &Arc<LoadedEncoder>, items: &[Item<'_>]) -> Result<Vec<Embedding>, Error> {
        let shelf = self.shelf(encoder)?;
        let wanted = Wanted { places: true, ..Wanted::default() };
        let encoding = self.fill_items(Items::of(items, &encoder.description.modality), encoder, &shelf, wanted)?;
        if let Some(error) = encoding.error {
            return Err(error.into());
        }
        if encoding.summary.stopped {
            return Err(Error::Stopped);
        }
        let rows = encoding.places.rows;
        let latents = shelf.latents(rows.iter().flatten().copied().collect())?;
        let mut next = 0..;
        let mut failures = encoding.summary.failures.into_iter();
        let latent = |row: Option<u64>| match row {
            Some(_) => {
                let mut values = vec![0.0; latents.width()];
                latents.copy_row(next.next().expect("there is no end"), &mut values);
                Ok(values)
            }
            None => Err(failures.next().map_or_else(|| "it has no latent".to_owned(), |failure| failure.reason)),
        };
        Ok(rows.into_iter().map(latent).collect())
    }
}

/// The latents of items, one call after the other.
fn call_all(encoder: &Arc<LoadedEncoder>, mut items: Vec<Vec<u8>>) -> Result<Vec<Embedding>, Error> {
    let mut latents = Vec::new();
    while !items.is_empty() {
        let rest = items.split_off(items.len().min(encoder.description.batch));
        let encoded = call(encoder, std::mem::replace(&mut items, rest))?;
        latents.extend(encoded.outcomes.into_iter().map(|outcome| {
            let values = outcome.map_err(|error| error.message)?.values;
            match values.iter().position(|value| !value.is_finite()) {
                Some(at) => Err(format!("encoder `{}` returned {} at position {at}", encoder.name, values[at])),
                None => Ok(values),
            }
        }));
    }
    Ok(latents)
}
