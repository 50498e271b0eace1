//! A gallery whose model changes: its items embedded anew, or its vectors mapped into another space.

use std::path::Path;

use super::migration_items::{ID, MigrationItems, is_here};
use super::{Added, COMMIT, GalleryColumns, ITEM};
use crate::config::Recipe;
use crate::dataset::Source;
use crate::gallery::{Building, Dtype, Exhibit, Gallery, GalleryInfo, check_place};
use crate::latents::Latents;
use crate::run::RunFolder;
use crate::session::model::Model;
use crate::session::{ColumnForecast, Error, Event};
use crate::space::AdapterKind;
use crate::wording::count;

/// The way of a gallery into another space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Migration {
    /// Each item is encoded and embedded anew.
    Embed,
    /// Each vector is taken for a latent of the tower: nothing is encoded.
    Map,
}

impl Model {
    /// Builds a gallery with the ids and the metadata of another one, whose vectors are embeddings of a tower of this
    /// model. It appears in `out` once it is complete.
    pub fn migrate_gallery(
        &self,
        from: &Path,
        tower: &str,
        how: Migration,
        dtype: Dtype,
        out: &Path,
    ) -> Result<Added, Error> {
        check_place(out)?;
        let there = Gallery::open(from)?;
        there.check_counted()?;
        match how {
            Migration::Embed => self.embed_anew(&there, tower, dtype, out),
            Migration::Map => self.mapped(&there, from, tower, dtype, out),
        }
    }

    /// The forecast of embedding a gallery's items anew.
    pub fn forecast_migration(&self, from: &Path, tower: &str) -> Result<Vec<ColumnForecast>, Error> {
        let items = self.items_of(&Gallery::open(from)?, tower)?;
        let columns = self.forecast_column(tower, items.source(), Some(ITEM))?;
        let of_gallery = |column| ColumnForecast { source: Source::new(from), ..column };
        Ok(columns.into_iter().map(of_gallery).collect())
    }

    fn embed_anew(&self, there: &Gallery, tower: &str, dtype: Dtype, out: &Path) -> Result<Added, Error> {
        let items = self.items_of(there, tower)?;
        let columns = GalleryColumns { items: Some(ITEM.to_owned()), id: Some(ID.to_owned()) };
        let origin = self.origin(tower)?;
        let additions = self.additions(tower, &items.source(), &columns, &[])?;
        // What is added later has the columns that the first one was built with.
        let info = GalleryInfo { width: self.space.width(), dtype, origin, ..there.info().clone() };
        let mut building = Building::start(out, info)?;
        let added = self.add(building.writer(), additions, Some(&|row| there.exhibit(items.rows[row])))?;
        building.finish()?;
        self.session.code_if_large(out)?;
        Ok(Added { failed: added.failed + items.without.len(), ..added })
    }

    /// The items of a gallery as a table, if the tower takes such items.
    fn items_of(&self, there: &Gallery, tower: &str) -> Result<MigrationItems, Error> {
        let gallery = there.folder().to_owned();
        let Some(place) = there.info().columns.iter().position(|column| column == ITEM) else {
            return Err(Error::NothingToMigrate { gallery });
        };
        let takes_files = self.towers().holds_files(self.tower(tower)?)?;
        let are_files = takes_files == Some(true);
        let item = |row| there.exhibit(row).map(|mut exhibit| exhibit.metadata.swap_remove(place));
        let first = there.rows().map(item).find(|item| item.as_ref().map_or(true, |item| is_here(item, are_files)));
        let Some(item) = first.transpose()? else { return Err(Error::NothingToMigrate { gallery }) };
        let item = item.as_str().unwrap_or_default().to_owned();
        // A gallery has whole paths of files, but for what is in an archive.
        let is_file = Path::new(&item).is_absolute();
        if takes_files.is_some() && are_files != is_file {
            return Err(Error::OtherItems { gallery, item, tower: tower.to_owned(), takes_files: are_files });
        }
        let items = MigrationItems::of(there, place, are_files)?;
        if let Some(first) = items.without.first() {
            tracing::warn!(
                "{}: {} left out that came without a text, or a file that is here, such as {first:?}; add them to the new \
                 gallery from their own file",
                there.folder().display(),
                count(items.without.len(), "item")
            );
        }
        Ok(items)
    }

    fn mapped(&self, there: &Gallery, from: &Path, tower: &str, dtype: Dtype, out: &Path) -> Result<Added, Error> {
        let index = self.tower(tower)?;
        let (width, wanted) = (there.info().width, self.info.towers[index].width);
        if width != wanted {
            return Err(Error::MapWidth { gallery: from.to_owned(), width, tower: tower.to_owned(), wanted });
        }
        let origin = self.origin(tower)?;
        // A tower of a file of latents names no encoder; its user knows what the rows are of.
        if !origin.encoders.is_empty() {
            let mine = &there.info().origin;
            let same = crate::gallery::Origin { run: mine.run.clone(), digest: mine.digest.clone(), ..origin.clone() };
            let named = crate::gallery::Origin { tower: mine.tower.clone(), ..same };
            mine.verify(&named)?;
            check_latents(there, from)?;
        }
        match self.space.takes_length_1(index) {
            Some(true) => {}
            Some(false) => return Err(Error::MapLength { gallery: from.to_owned(), tower: tower.to_owned() }),
            None => tracing::warn!(
                "{}: its vectors have length 1; what tower `{tower}` makes of them is good if its latents have, too",
                from.display()
            ),
        }
        let GalleryInfo { columns, item_column, id_column, .. } = there.info().clone();
        let info = GalleryInfo { width: self.space.width(), dtype, columns, item_column, id_column, origin };
        let rows: Vec<usize> = there.rows().collect();
        let vectors = Vectors { gallery: there, rows: &rows };
        let (mut building, mut done) = (Building::start(out, info)?, 0);
        let (mut exhibits, mut values): (Vec<Exhibit>, Vec<f32>) = (Vec::new(), Vec::new());
        let outcome = self.space.embed_chunks(index, &vectors, &mut |chunk| {
            if self.session.should_stop() {
                return Err(Error::Stopped);
            }
            let count = chunk.len() / self.space.width();
            for &row in &rows[done..done + count] {
                exhibits.push(there.exhibit(row)?);
            }
            values.extend_from_slice(chunk);
            done += count;
            if exhibits.len() >= COMMIT || done == rows.len() {
                building.writer().append(&exhibits, &values)?;
                exhibits.clear();
                values.clear();
            }
            self.session.see(Event::Building { done, total: rows.len() });
            Ok(())
        });
        self.session.see(Event::Ended);
        outcome?;
        building.finish()?;
        self.session.code_if_large(out)?;
        Ok(Added { new: rows.len(), ..Added::default() })
    }
}

/// Refuses a gallery of a tower that is known to have an adapter: its vectors are no latents.
fn check_latents(there: &Gallery, from: &Path) -> Result<(), Error> {
    let crate::gallery::Origin { run, tower, digest, .. } = &there.info().origin;
    // The run may be elsewhere now, or another one in its place.
    let known = RunFolder::open(Path::new(run)).ok().filter(|(_, info)| info.adapters.as_ref() == Some(digest));
    let recipe = known.and_then(|(folder, _)| Recipe::read(&folder.recipe()).ok());
    let entry = recipe.as_ref().and_then(|recipe| recipe.towers.iter().find(|entry| entry.name == *tower));
    match entry.is_some_and(|entry| entry.adapter != AdapterKind::Identity) {
        true => Err(Error::MapAdapted { gallery: from.to_owned(), tower: tower.clone(), run: run.clone() }),
        false => Ok(()),
    }
}

/// Some vectors of a gallery as latents.
struct Vectors<'a> {
    gallery: &'a Gallery,
    rows: &'a [usize],
}

impl Latents for Vectors<'_> {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.gallery.info().width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        let vector = self.gallery.vector(self.rows[index]);
        out.copy_from_slice(&vector.expect("a row that is there"));
    }
}
