//! A model's embeddings in a gallery: building one, adding to it, searching it.

mod codes;
mod export;
mod labels;
mod migrate;
mod migration_items;

use serde_json::Value;
use std::path::Path;

use labels::Labels;
pub use migrate::Migration;

use super::encode::listed;
use super::model::Model;
use super::{Error, Event};
use crate::dataset::{Dataset, Source};
use crate::gallery::{
    Building, Dtype, Exhibit, Filter, Gallery, GalleryError, GalleryInfo, Hit, Origin, Writer, check_place,
};
use crate::latents::Latents;
use crate::pairs::Side;

/// The metadata column with the item itself: the text, or the path of the file.
pub const ITEM: &str = "item";
/// The factor of the greatest score that rounding explains.
const SLACK: f32 = 1.01;
/// Rows that are added in one commit.
const COMMIT: usize = 8192;

/// The columns of a table that go into a gallery.
#[derive(Clone, Debug, Default)]
pub struct GalleryColumns {
    /// The items; guessed from the header if none is named.
    pub items: Option<String>,
    /// The ids; the items' own cells if none is named.
    pub id: Option<String>,
}

/// The result of adding a table's rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Added {
    /// Items whose ids are new.
    pub new: usize,
    /// Items that replaced others with the same id.
    pub replaced: usize,
    /// Rows that repeat an item of an earlier row.
    pub repeated: usize,
    /// Rows without an embedding.
    pub failed: usize,
}

/// An item of a gallery that is near to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct GalleryHit {
    /// The cosine with the query.
    pub score: f32,
    /// Its id.
    pub id: String,
    /// The item: the text, or the path of the file.
    pub item: Value,
    /// The other metadata by column, in the gallery's order.
    pub metadata: Vec<(String, Value)>,
}

impl GalleryHit {
    /// A hit of a search with what the gallery holds of it.
    pub fn of(gallery: &Gallery, hit: Hit) -> Result<Self, Error> {
        let Exhibit { id, metadata } = gallery.exhibit(hit.row)?;
        let columns = gallery.info().columns.iter().cloned();
        let (items, metadata): (Vec<_>, Vec<_>) = columns.zip(metadata).partition(|(column, _)| column == ITEM);
        let item = items.into_iter().next().map(|(_, item)| item).unwrap_or_default();
        Ok(Self { score: hit.score, id, item, metadata })
    }
}

impl Model {
    /// Builds a gallery of a tower's items in `data`; it appears in `out` once it is complete.
    pub fn build_gallery(
        &self,
        tower: &str,
        data: impl Into<Source>,
        columns: &GalleryColumns,
        metadata: &[String],
        dtype: Dtype,
        out: &Path,
    ) -> Result<Added, Error> {
        check_place(out)?;
        if let Some(column) = metadata.iter().find(|column| [ITEM, "id"].contains(&column.as_str())) {
            return Err(Error::Reserved { column: column.clone() });
        }
        let origin = self.origin(tower)?;
        let additions = self.additions(tower, &data.into(), columns, metadata)?;
        let info = GalleryInfo {
            width: self.space.width(),
            dtype,
            columns: [ITEM.to_owned()].into_iter().chain(metadata.iter().cloned()).collect(),
            item_column: matches!(additions.labels.file, Dataset::Table(_)).then(|| additions.labels.column.clone()),
            id_column: columns.id.clone(),
            origin,
        };
        let mut building = Building::start(out, info)?;
        let added = self.add(building.writer(), additions, None)?;
        building.finish()?;
        self.session.code_if_large(out)?;
        Ok(added)
    }

    /// Adds the items in `data` to the gallery in `gallery`, replacing items with the same id. Columns that are not
    /// named are those that the gallery was built with.
    pub fn add_to_gallery(
        &self,
        gallery: &Path,
        data: impl Into<Source>,
        columns: &GalleryColumns,
    ) -> Result<Added, Error> {
        // Others may write while this encodes.
        let there = Gallery::open(gallery)?;
        there.check_counted()?;
        let info = there.info().clone();
        let GalleryInfo { origin, item_column, id_column, .. } = &info;
        origin.verify(&self.origin(&origin.tower)?)?;
        let metadata: Vec<String> = info.columns.iter().filter(|name| *name != ITEM).cloned().collect();
        let source = data.into();
        let file = source.open()?;
        let is_there = |name: &&String| matches!(file, Dataset::Table(_)) && file.rows(name).is_ok();
        let columns = GalleryColumns {
            items: columns.items.clone().or_else(|| item_column.as_ref().filter(is_there).cloned()),
            id: columns.id.clone().or_else(|| id_column.clone()),
        };
        let additions = self.additions(&origin.tower, &source, &columns, &metadata)?;
        let mut writer = Writer::open(gallery)?;
        writer.info().origin.verify(origin)?;
        let added = self.add(&mut writer, additions, None)?;
        drop(writer);
        self.session.code_if_large(gallery)?;
        Ok(added)
    }

    /// Makes the codes of a large gallery that has none, or has many items without one.
    pub fn code_gallery_if_large(&self, gallery: &Path) -> Result<(), Error> {
        self.session.code_if_large(gallery)
    }

    /// The `k` items of a gallery nearest to each of `queries` among those that pass the filter, nearest first.
    pub fn search_gallery(
        &self,
        gallery: &Gallery,
        queries: &[Vec<f32>],
        k: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Vec<GalleryHit>>, Error> {
        gallery.check_counted()?;
        let found = self.search_rows(gallery, queries, k, filter)?;
        let hits = |hits: Vec<Hit>| hits.into_iter().map(|hit| GalleryHit::of(gallery, hit)).collect();
        found.into_iter().map(hits).collect()
    }

    /// The same as rows of a gallery that was checked before, and to which items may be added now.
    pub fn search_rows(
        &self,
        gallery: &Gallery,
        queries: &[Vec<f32>],
        k: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Vec<Hit>>, Error> {
        let origin = &gallery.info().origin;
        origin.verify_run(&self.origin(&origin.tower)?)?;
        self.check_queries(queries)?;
        let tower = self.tower(&origin.tower)?;
        let queries: Vec<f32> = queries.iter().flat_map(|query| self.space.query(query, tower)).collect();
        let found = gallery.search(&queries, k, filter)?;
        if let Some(hit) = found.iter().flatten().find(|hit| hit.score.abs() > self.space.most_score() * SLACK) {
            return Err(gallery.impossible(*hit).into());
        }
        Ok(found)
    }

    /// Refuses a gallery of other embeddings than this model's.
    pub fn check_gallery(&self, gallery: &Gallery) -> Result<(), Error> {
        self.check_origin(gallery.info())?;
        Ok(gallery.check_counted()?)
    }

    /// Refuses the description of a gallery of other embeddings than this model's.
    pub fn check_origin(&self, info: &GalleryInfo) -> Result<(), Error> {
        let origin = &info.origin;
        Ok(origin.verify(&self.origin(&origin.tower)?)?)
    }

    /// The origin of a tower's embeddings: what a gallery of them says.
    pub fn origin(&self, tower: &str) -> Result<Origin, Error> {
        let info = &self.info.towers[self.tower(tower)?];
        let run = std::path::absolute(self.folder.path()).unwrap_or_else(|_| self.folder.path().to_owned());
        let encoders = info.encoders.iter().map(|encoder| (encoder.name.clone(), encoder.fingerprint.clone()));
        Ok(Origin {
            run: run.display().to_string(),
            digest: self.digest()?.to_owned(),
            tower: tower.to_owned(),
            encoders: encoders.collect(),
        })
    }

    /// Encodes the missing items of a file; it must have all the columns, and an id for each item.
    fn additions(
        &self,
        tower: &str,
        source: &Source,
        columns: &GalleryColumns,
        metadata: &[String],
    ) -> Result<Additions, Error> {
        let tower = self.tower(tower)?;
        let others = columns.id.iter().chain(metadata).cloned().collect();
        let (file, column) = self.items_beside(tower, source, columns.items.as_deref(), Some(others))?;
        for name in columns.id.iter().chain(metadata) {
            match &file {
                Dataset::Table(_) => drop(file.rows(name)?),
                Dataset::Precomputed(_) => {
                    return Err(Error::NoColumn { path: file.path().to_owned(), column: name.clone() });
                }
            }
        }
        let labels = Labels { file, column, id: columns.id.clone() };
        labels.check(metadata)?;
        let Side { keys, latents } = self.towers().side(tower, &labels.file, &labels.column)?;
        let present: Vec<bool> = keys.iter().map(Option::is_some).collect();
        let (chosen, repeated) = labels.distinct(&present)?;
        Ok(Additions { tower, labels, present, chosen, repeated, latents })
    }

    /// Embeds and adds the rows of a file, as what `known` says that they are, or else their labels.
    fn add(
        &self,
        writer: &mut Writer,
        additions: Additions,
        known: Option<&dyn Fn(usize) -> Result<Exhibit, GalleryError>>,
    ) -> Result<Added, Error> {
        let Additions { tower, labels, present, chosen, repeated, latents } = additions;
        let failed = present.iter().filter(|present| !**present).count();
        let mut added = Added { repeated, failed, ..Added::default() };
        let (total, width) = (latents.len(), self.space.width());
        let encoders = self.towers().encoders(tower)?;
        let listed = listed(&labels.file, &labels.column, &encoders)?;
        // The rows with a latent, in order; those that are not chosen repeat another.
        let mut rows = (0..present.len()).filter(|&row| present[row]);
        let (mut exhibits, mut vectors, mut done) = (Vec::new(), Vec::new(), 0);
        let outcome = self.space.embed_chunks(tower, &*latents, &mut |chunk| {
            if self.session.should_stop() {
                return Err(Error::Stopped);
            }
            for vector in chunk.chunks_exact(width) {
                let row = rows.next().expect("a row for each latent");
                done += 1;
                if chosen[row] {
                    exhibits.push(match known {
                        Some(known) => known(row)?,
                        None => {
                            let path = listed.and_then(|items| items.item(row).into_file());
                            labels.exhibit(row, path, &writer.info().columns)?
                        }
                    });
                    vectors.extend_from_slice(vector);
                }
            }
            if exhibits.len() >= COMMIT || done == total {
                let appended = writer.append(&exhibits, &vectors)?;
                (added.new, added.replaced) = (added.new + appended.new, added.replaced + appended.replaced);
                exhibits.clear();
                vectors.clear();
            }
            self.session.see(Event::Building { done, total });
            Ok::<_, Error>(())
        });
        self.session.see(Event::Ended);
        outcome.map(|()| added)
    }
}

/// Items on their way into a gallery.
struct Additions {
    tower: usize,
    labels: Labels,
    /// For each row, whether it has a latent.
    present: Vec<bool>,
    /// For each row, whether it is added.
    chosen: Vec<bool>,
    /// Rows that repeat an item of an earlier row.
    repeated: usize,
    /// Of the rows that have one.
    latents: Box<dyn Latents>,
}
