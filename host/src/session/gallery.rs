//! A model's embeddings in a gallery: building one, adding to it, searching it.

use serde_json::{Number, Value};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use super::model::Model;
use super::{Error, Event};
use crate::cache::Key;
use crate::dataset::{DataError, Dataset, Table};
use crate::gallery::{Dtype, Exhibit, Filter, Gallery, GalleryError, GalleryInfo, Origin, Writer};
use crate::pairs::Side;

/// The metadata column with the item itself: the text, or the path of the file.
pub const ITEM: &str = "item";
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
    /// The other metadata, by column.
    pub metadata: BTreeMap<String, Value>,
}

impl Model {
    /// Builds a gallery of a tower's items in `data`; it appears in `out` once it is complete.
    pub fn build_gallery(
        &self,
        tower: &str,
        data: &Path,
        columns: &GalleryColumns,
        metadata: &[String],
        dtype: Dtype,
        out: &Path,
    ) -> Result<Added, Error> {
        if out.join("gallery.json").exists() {
            return Err(GalleryError::Exists { path: out.to_owned() }.into());
        }
        let named = [ITEM.to_owned()].into_iter().chain(metadata.iter().cloned()).collect();
        let info = GalleryInfo { width: self.space.width(), dtype, columns: named, origin: self.origin(tower)? };
        let rows = Rows::open(self, tower, data, columns, metadata)?;
        let part = part(out);
        let write = |cause| Error::Write { path: out.to_owned(), cause };
        if part.join("gallery.json").exists() {
            // Another that builds it holds its lock.
            drop(Writer::open(&part)?);
            fs::remove_dir_all(&part).map_err(write)?;
        }
        let mut writer = Writer::create(&part, info)?;
        let added = self.add_rows(&mut writer, rows)?;
        // An empty folder may be there.
        let _ = fs::remove_dir(out);
        fs::rename(&part, out).map_err(write)?;
        Ok(added)
    }

    /// Adds the items in `data` to the gallery in `gallery`, replacing items with the same id.
    pub fn add_to_gallery(&self, gallery: &Path, data: &Path, columns: &GalleryColumns) -> Result<Added, Error> {
        let mut writer = Writer::open(gallery)?;
        let origin = writer.info().origin.clone();
        origin.verify(&self.origin(&origin.tower)?)?;
        let metadata: Vec<String> = writer.info().columns.iter().skip(1).cloned().collect();
        let rows = Rows::open(self, &origin.tower, data, columns, &metadata)?;
        self.add_rows(&mut writer, rows)
    }

    /// The `k` items of a gallery nearest to each of `queries` among those that pass the filter, nearest first.
    pub fn search_gallery(
        &self,
        gallery: &Gallery,
        queries: &[Vec<f32>],
        k: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<Vec<GalleryHit>>, Error> {
        let origin = &gallery.info().origin;
        origin.verify_run(&self.origin(&origin.tower)?)?;
        let found = gallery.search(&queries.concat(), k, filter)?;
        let hit = |hit: crate::gallery::Hit| {
            let Exhibit { id, metadata } = gallery.exhibit(hit.row)?;
            let mut metadata = metadata.into_iter();
            let item = metadata.next().unwrap_or_default();
            let names = gallery.info().columns.iter().skip(1).cloned();
            Ok(GalleryHit { score: hit.score, id, item, metadata: names.zip(metadata).collect() })
        };
        found.into_iter().map(|hits| hits.into_iter().map(hit).collect()).collect()
    }

    /// The origin of a tower's embeddings.
    fn origin(&self, tower: &str) -> Result<Origin, Error> {
        let info = &self.info.towers[self.recipe.tower(tower)?];
        let run = std::path::absolute(self.folder.path()).unwrap_or_else(|_| self.folder.path().to_owned());
        let encoders = info.encoders.iter().map(|encoder| (encoder.name.clone(), encoder.fingerprint.clone()));
        Ok(Origin {
            run: run.display().to_string(),
            digest: self.digest()?.to_owned(),
            tower: tower.to_owned(),
            encoders: encoders.collect(),
        })
    }

    fn add_rows(&self, writer: &mut Writer, rows: Rows) -> Result<Added, Error> {
        let Rows { file, column, columns, metadata, tower } = rows;
        let names = Names { file: &file, column: &column, id: columns.id.as_deref() };
        let Side { keys, latents } = self.towers().side(tower, &file, &column)?;
        let (chosen, repeated) = names.distinct(&keys)?;
        let mut added = Added { repeated, failed: keys.iter().filter(|key| key.is_none()).count(), ..Added::default() };
        let (total, width) = (latents.len(), self.space.width());
        let is_text = self.towers().modality(tower)?.is_none_or(|modality| modality == "text");
        // The rows with a latent, in order; those that are not chosen repeat another.
        let mut present = (0..keys.len()).filter(|&row| keys[row].is_some());
        let (mut exhibits, mut vectors, mut done) = (Vec::new(), Vec::new(), 0);
        self.space.embed_chunks(tower, &*latents, &mut |chunk| {
            if self.session.should_stop() {
                return Err(Error::Stopped);
            }
            for vector in chunk.chunks_exact(width) {
                let row = present.next().expect("a row for each latent");
                done += 1;
                if !chosen[row] {
                    continue;
                }
                let item = names.item(row, is_text)?;
                let others = metadata.iter().map(|name| names.value(name, row));
                let metadata = [Ok(item)].into_iter().chain(others).collect::<Result<_, _>>()?;
                exhibits.push(Exhibit { id: names.id(row)?, metadata });
                vectors.extend_from_slice(vector);
            }
            if exhibits.len() >= COMMIT || done == total {
                let appended = writer.append(&exhibits, &vectors)?;
                (added.new, added.replaced) = (added.new + appended.new, added.replaced + appended.replaced);
                exhibits.clear();
                vectors.clear();
            }
            self.session.see(Event::Building { done, total });
            Ok::<_, Error>(())
        })?;
        self.session.see(Event::Built);
        Ok(added)
    }
}

/// The rows of a table on their way into a gallery.
struct Rows {
    file: Dataset,
    tower: usize,
    column: String,
    columns: GalleryColumns,
    metadata: Vec<String>,
}

impl Rows {
    /// Opens the table, which must have all of the columns.
    fn open(
        model: &Model,
        tower: &str,
        data: &Path,
        columns: &GalleryColumns,
        metadata: &[String],
    ) -> Result<Self, Error> {
        let tower = model.recipe.tower(tower)?;
        let file = Dataset::open(data)?;
        let column = model.column(tower, &file, columns.items.as_deref())?;
        for name in columns.id.iter().chain(metadata) {
            file.rows(name)?;
        }
        Ok(Self { file, tower, column, columns: columns.clone(), metadata: metadata.to_owned() })
    }
}

/// The ids of a table's rows.
struct Names<'a> {
    file: &'a Dataset,
    column: &'a str,
    id: Option<&'a str>,
}

impl Names<'_> {
    fn table(&self) -> Option<&Table> {
        if let Dataset::Table(table) = self.file { Some(table) } else { None }
    }

    fn id(&self, row: usize) -> Result<String, DataError> {
        self.file.name(self.id.unwrap_or(self.column), row)
    }

    fn item(&self, row: usize, is_text: bool) -> Result<Value, DataError> {
        Ok(match self.table() {
            Some(table) if !is_text => {
                let path = table.column(self.column)?.file(row);
                std::path::absolute(&path).unwrap_or(path).display().to_string().into()
            }
            _ => self.file.name(self.column, row)?.into(),
        })
    }

    /// A cell of metadata: a number if it is written as one, null if it is empty, else text.
    fn value(&self, column: &str, row: usize) -> Result<Value, DataError> {
        let text = self.file.name(column, row)?;
        let number = text.parse::<Number>().ok().filter(|_| !text.contains(['e', 'E']));
        Ok(match number {
            _ if text.is_empty() => Value::Null,
            Some(number) => number.into(),
            None => text.into(),
        })
    }

    /// The rows to add, and the number of rows that repeat an item; two items with one id are an error.
    fn distinct(&self, keys: &[Option<Key>]) -> Result<(Vec<bool>, usize), Error> {
        let mut chosen = vec![false; keys.len()];
        let mut repeated = 0;
        // By the beginning of a hash: ids are many.
        let mut first: HashMap<u64, usize> = HashMap::new();
        for row in (0..keys.len()).filter(|&row| keys[row].is_some()) {
            let id = self.id(row)?;
            if id.is_empty() {
                return Err(Error::EmptyId { path: self.file.path().to_owned(), row: row + 1 });
            }
            let hash = blake3::hash(id.as_bytes());
            let hash = u64::from_le_bytes(*hash.as_bytes().first_chunk().expect("a hash has 32 bytes"));
            let earlier = *first.entry(hash).or_insert(row);
            match (earlier == row, self.id) {
                (true, _) => chosen[row] = true,
                (false, None) => repeated += 1,
                (false, Some(_)) => {
                    let (path, rows) = (self.file.path().to_owned(), [earlier + 1, row + 1]);
                    return Err(Error::SameId { path, id, rows });
                }
            }
        }
        Ok((chosen, repeated))
    }
}

/// The folder of a gallery while it is built.
fn part(out: &Path) -> PathBuf {
    let mut name = out.components().as_path().as_os_str().to_owned();
    name.push(".building");
    name.into()
}
