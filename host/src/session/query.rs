//! Queries: embedding items from memory, and finding the nearest items.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::encode::{complete, listed};
use super::given::given_latent;
use super::model::Model;
use super::{Error, Session};
use crate::cache::{Key, Known};
use crate::config::TowerSource;
use crate::dataset::{DataError, Item, Items, Source};
use crate::encode::{EncodeError, Latent, Wanted, encode_once};
use crate::eval::nearest;
use crate::latents::{Dense, Latents};
use crate::plugin::{EncoderError, LoadedEncoder};

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
        let index = self.tower(tower)?;
        let width = self.info.towers[index].width;
        let mut latents: Vec<Latent> = match &self.recipe.towers[index].source {
            TowerSource::Encoders(_) => vec![Ok(Vec::new()); items.len()],
            source => {
                let rows = if let TowerSource::Rows(rows) = source { Some(rows) } else { None };
                let named = rows.map(|rows| self.towers().named_latents(index, rows)).transpose()?;
                let files = self.names_files.then_some(&self.session);
                items.iter().map(|item| given_latent(files, named.as_deref(), item, width)).collect()
            }
        };
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
        if let Some(other) = latents.iter().flatten().map(Vec::len).find(|other| *other != width) {
            let (path, tower) = ("the query".into(), tower.to_owned());
            return Err(DataError::Width { path, tower, width: other, other: width }.into());
        }
        let absent = |item: &Item<'_>| matches!(item, Item::File(path) if !path.exists());
        for (latent, item) in latents.iter_mut().zip(items).filter(|(_, item)| absent(item)) {
            if let Err(reason) = latent {
                let towers: Vec<&str> = self.recipe.towers.iter().map(|tower| tower.name.as_str()).collect();
                let (name, towers) = (item.name(), towers.join(", "));
                *reason += &format!(
                    "; tower `{tower}` takes files, and {name} is none: for words, search from a tower of texts (the \
                     towers: {towers})"
                );
            }
        }
        let rows: Vec<f32> = latents.iter().flatten().flatten().copied().collect();
        let embeddings = self.space.embed(index, &Dense::new(rows, width))?;
        let mut embeddings = embeddings.chunks(self.space.width());
        let embedding = |latent: Latent| {
            let embedding = latent.map(|_| embeddings.next().expect("one for each latent"))?;
            match embedding.iter().all(|value| *value == 0.0) {
                true => Err("its embedding has no direction: all its values are 0".to_owned()),
                false => Ok(embedding.to_vec()),
            }
        };
        Ok(latents.into_iter().map(embedding).collect())
    }

    /// The embedding of one item.
    pub fn embed_one(&self, tower: &str, item: Item<'_>, store: bool) -> Result<Vec<f32>, Error> {
        let query = item.name();
        let mut embeddings = self.embed(tower, &[item], store)?;
        embeddings.remove(0).map_err(|reason| Error::Query { query, reason })
    }

    /// A text or the path of a file as an item of a tower, whichever the tower takes.
    pub fn item<'a>(&self, tower: &str, word: &'a str) -> Result<Item<'a>, Error> {
        let kind = self.towers().holds_files(self.tower(tower)?)?;
        Ok(match kind {
            Some(true) => Item::file(word),
            Some(false) => Item::text(word),
            None if Path::new(word).is_file() => Item::file(word),
            None => Item::text(word),
        })
    }

    /// The `k` distinct items of a column that are nearest to each of `queries`, nearest first.
    pub fn search_column(
        &self,
        queries: &[Vec<f32>],
        to: &str,
        data: impl Into<Source>,
        column: Option<&str>,
        k: usize,
    ) -> Result<Vec<Vec<Found>>, Error> {
        let to = self.tower(to)?;
        self.check_queries(queries)?;
        let (file, column) = self.items_beside(to, &data.into(), column, Some(Vec::new()))?;
        let towers = self.towers();
        let distinct = towers.side(to, &file, &column)?.distinct();
        let embeddings = self.embed_all(to, &*distinct.latents)?;
        let encoders = towers.encoders(to)?;
        let listed = listed(&file, &column, &encoders)?;
        let found = |(item, score): (usize, f32)| {
            let row = distinct.rows[item];
            // The cell is relative to the table; who reads this is elsewhere.
            let path = listed.and_then(|items| items.item(row).into_file());
            Ok(Found { score, row, item: file.name(&column, row)?, file: path })
        };
        let nearest = |query: &Vec<f32>| nearest(&self.space.query(query, to), &embeddings, k);
        queries.iter().map(|query| nearest(query).into_iter().map(found).collect()).collect()
    }

    /// All embeddings of latents, unless somebody asks to stop.
    pub(super) fn embed_all(&self, tower: usize, latents: &dyn Latents) -> Result<Vec<f32>, Error> {
        let mut all = Vec::with_capacity(latents.len() * self.space.width());
        self.space.embed_chunks(tower, latents, &mut |chunk| {
            all.extend_from_slice(chunk);
            if self.session.should_stop() { Err(Error::Stopped) } else { Ok(()) }
        })?;
        Ok(all)
    }

    /// Refuses queries of another width than the space's.
    pub(super) fn check_queries(&self, queries: &[Vec<f32>]) -> Result<(), Error> {
        let width = self.space.width();
        match queries.iter().map(Vec::len).find(|other| *other != width) {
            Some(got) => Err(Error::QueryWidth { got, width }),
            None => Ok(()),
        }
    }
}

impl Session {
    /// The latents of items by an encoder, which are not stored.
    fn latents<'a>(&self, encoder: &Arc<LoadedEncoder>, items: &[Item<'a>]) -> Result<Vec<Latent>, Error> {
        let modality = &encoder.description.modality;
        let read = |item: &Item<'a>| {
            let bytes = item.clone().read()?;
            Ok::<_, String>((Key::of(modality, &bytes), bytes))
        };
        let read: Vec<_> = items.iter().map(read).collect();
        let keys: Vec<Key> = read.iter().flatten().map(|(key, _)| *key).collect();
        let mut latents: HashMap<Key, Latent> = HashMap::new();
        let mut width = encoder.description.width;
        if let Some(reader) = self.reader(encoder)? {
            let known = reader.known(&keys)?.into_iter().zip(&keys);
            let stored =
                known.filter_map(|(known, key)| if let Some(Known::Row(at)) = known { Some((*key, at)) } else { None });
            let (keys, rows): (Vec<Key>, Vec<u64>) = stored.unzip();
            let rows = reader.latents(rows)?;
            for (index, key) in keys.into_iter().enumerate() {
                let mut values = vec![0.0; rows.width()];
                rows.copy_row(index, &mut values);
                latents.insert(key, Ok(values));
            }
            width = width.or(reader.width()?);
        }
        let mut new: HashMap<Key, Vec<u8>> = HashMap::new();
        let mut of_items = Vec::with_capacity(read.len());
        for item in read {
            of_items.push(item.map(|(key, bytes)| {
                if !latents.contains_key(&key) {
                    new.entry(key).or_insert_with(|| bytes.into_owned());
                }
                key
            }));
        }
        if !new.is_empty() {
            let mut allowance = self.shared.budget.allow(encoder)?;
            let most = allowance.left();
            let mut ledger = self.ledger(encoder)?;
            let encoded = encode_once(new.into_iter().collect(), encoder, width, most, &self.stop, &mut |spent| {
                ledger.add(spent);
                allowance.spend(spent.cost);
            });
            if let Err(EncodeError::Encoder(EncoderError::Hang { .. })) = &encoded {
                self.forget(encoder);
            }
            latents.extend(encoded?);
            if self.should_stop() {
                return Err(Error::Stopped);
            }
        }
        let latent = |key: Result<Key, String>| latents[&key?].clone();
        Ok(of_items.into_iter().map(latent).collect())
    }

    /// The number of different items whose latents are not in the cache, and their cost if the encoder has a price.
    pub(super) fn unknown(&self, encoder: &LoadedEncoder, items: &[Item<'_>]) -> Result<(usize, Option<f64>), Error> {
        let modality = &encoder.description.modality;
        let read = items.iter().filter_map(|item| item.clone().read().ok());
        let new: HashMap<Key, Vec<u8>> = read.map(|bytes| (Key::of(modality, &bytes), bytes.into_owned())).collect();
        let (keys, bytes): (Vec<Key>, Vec<Vec<u8>>) = new.into_iter().unzip();
        let known = self.reader(encoder)?.map_or_else(|| Ok(vec![None; keys.len()]), |reader| reader.known(&keys))?;
        let is_new = |known: &Option<Known>| !matches!(known, Some(Known::Row(_)));
        let new: Vec<&[u8]> =
            bytes.iter().zip(&known).filter(|(_, known)| is_new(known)).map(|(bytes, _)| bytes.as_slice()).collect();
        let tokens: u64 = encoder.measure(&new)?.iter().map(|size| size.tokens).sum();
        let cost = encoder.description.price.map(|price| price.of(tokens as f64, new.len() as f64));
        Ok((new.len(), cost))
    }

    /// The latents of items by an encoder, which are stored.
    pub(super) fn stored_latents(
        &self,
        encoder: &Arc<LoadedEncoder>,
        items: &[Item<'_>],
    ) -> Result<Vec<Latent>, Error> {
        let shelf = self.shelf(encoder)?;
        let items = Items::of(items, &encoder.description.modality);
        let encoding = complete(self.fill_items(items, encoder, &shelf, Wanted::placed())?)?;
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
