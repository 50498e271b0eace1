//! The pairs that are drawn for a probe, at random among those that can be read.

use fusemix_sdk::Modality;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;
use std::sync::Arc;

use super::FEWEST;
use super::set::{By, OfRows, ProbedSet};
use crate::cache::Key;
use crate::dataset::{Column, Dataset, Item, Items, no_text};
use crate::encode::keys;
use crate::pairs::Side;
use crate::plugin::LoadedEncoder;
use crate::session::encode::items;
use crate::session::{Error, Session};

/// Pairs of a file in random order, each of other items than those before it.
pub(super) struct Drawn {
    pub(super) file: Arc<Dataset>,
    /// Rows that are not drawn yet, the next one last.
    rest: Vec<usize>,
    /// What is drawn, by content.
    known: [HashSet<Key>; 2],
    /// The cells of what is drawn, with their folders, so that the captions of a picture are read once.
    cells: [HashSet<Vec<u8>>; 2],
    /// The rows that are drawn.
    pub(super) rows: Vec<usize>,
    /// Rows of which an item could not be read.
    pub(super) unreadable: usize,
}

/// What either side's items are read by.
pub(super) type Reading<'a> = [Option<&'a Arc<LoadedEncoder>>; 2];

impl Drawn {
    pub(super) fn new(session: &Session, set: &ProbedSet<'_>, seed: u64) -> Result<Self, Error> {
        let file = session.data(&set.source)?;
        let mut rest: Vec<usize> = (0..file.paired_rows(set.columns.each_ref().map(String::as_str))?).collect();
        rest.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        let (known, cells) = Default::default();
        Ok(Self { file, rest, known, cells, rows: Vec::new(), unreadable: 0 })
    }

    /// Draws until there are `wanted` pairs, as far as the file has them; what cannot be read is passed over.
    pub(super) fn draw(
        &mut self,
        session: &Session,
        set: &ProbedSet<'_>,
        sides: &Sides<'_>,
        wanted: usize,
    ) -> Result<(), Error> {
        // A file of which nothing can be read is not read to its end.
        let most = self.unreadable + 2 * wanted.max(FEWEST);
        while self.rows.len() < wanted && self.unreadable < most {
            let rows = self.next(set, wanted - self.rows.len());
            if rows.is_empty() {
                break;
            }
            let mut found = Vec::with_capacity(2);
            for side in 0..2 {
                found.push(sides.keys(session, &self.file, set, side, &rows)?);
            }
            if session.should_stop() {
                return Err(Error::Stopped);
            }
            for (at, row) in rows.into_iter().enumerate() {
                let (Some(first), Some(second)) = (found[0][at], found[1][at]) else {
                    self.unreadable += 1;
                    continue;
                };
                // An item that is in several pairs would be its own neighbour.
                if !self.known[0].contains(&first) && !self.known[1].contains(&second) {
                    self.known[0].insert(first);
                    self.known[1].insert(second);
                    self.rows.push(row);
                }
            }
        }
        Ok(())
    }

    /// The next `most` rows whose cells are others than those before them.
    fn next(&mut self, set: &ProbedSet<'_>, most: usize) -> Vec<usize> {
        let mut rows = Vec::with_capacity(most);
        while rows.len() < most {
            let Some(row) = self.rest.pop() else { break };
            if let Dataset::Table(table) = &*self.file {
                let cell = |name: &String| Some(table.column(name).ok()?.known_by(row).into_owned());
                let [Some(first), Some(second)] = set.columns.each_ref().map(cell) else { continue };
                if self.cells[0].contains(&first) || self.cells[1].contains(&second) {
                    continue;
                }
                self.cells[0].insert(first);
                self.cells[1].insert(second);
            }
            rows.push(row);
        }
        rows
    }
}

/// How either side's items are found: by encoders, or in a file of latents.
pub(super) struct Sides<'a> {
    pub(super) reading: Reading<'a>,
    /// Of each file of latents.
    pub(super) latents: [Vec<(By, Side)>; 2],
}

impl Sides<'_> {
    /// The content of some rows of a side; none of what cannot be read, or has no latent.
    fn keys(
        &self,
        session: &Session,
        file: &Dataset,
        set: &ProbedSet<'_>,
        side: usize,
        rows: &[usize],
    ) -> Result<Vec<Option<Key>>, Error> {
        if let (None, Some((_, side))) = (self.reading[side], self.latents[side].first()) {
            return Ok(rows.iter().map(|row| side.keys[*row]).collect());
        }
        let (Dataset::Table(table), Some(encoder)) = (file, self.reading[side]) else {
            return Ok(vec![None; rows.len()]);
        };
        let column = table.column(&set.columns[side])?;
        let all = items(column, encoder);
        let list: Vec<Item<'_>> = rows.iter().map(|row| all.item(*row)).collect();
        let mut found = keys(Items::of(&list, &encoder.description.modality), session.files()?, &session.stop);
        for (key, row) in found.iter_mut().zip(rows) {
            *key = key.filter(|_| is_whole(column, encoder, *row));
        }
        Ok(found)
    }

    /// The latents of some rows of a file of latents.
    pub(super) fn of_file(side: &Side, rows: &[usize]) -> OfRows {
        // The place of each row among those that have a latent.
        let mut next = 0;
        let places: Vec<Option<usize>> = side
            .keys
            .iter()
            .map(|key| {
                let place = key.map(|_| next);
                next += usize::from(key.is_some());
                place
            })
            .collect();
        let latent = |row: &usize| {
            let mut values = vec![0.0; side.latents.width()];
            side.latents.copy_row(places[*row]?, &mut values);
            Some(values)
        };
        rows.iter().map(latent).collect()
    }
}

/// True unless a row's cell is known to be no item.
fn is_whole(column: Column<'_>, encoder: &LoadedEncoder, row: usize) -> bool {
    let is_text = encoder.description.modality == Modality::Text && !column.holds_members();
    column.broken(row).is_none() && !(is_text && no_text(column.cell(row)).is_some())
}

impl Drawn {
    /// Refuses a file with too few pairs.
    pub(super) fn check(&self) -> Result<(), Error> {
        match self.rows.len() {
            pairs if pairs < FEWEST => Err(Error::FewProbed {
                path: self.file.path().to_owned(),
                pairs,
                fewest: FEWEST,
                unreadable: self.unreadable,
            }),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::Source;
    use crate::session::Setup;

    #[test]
    fn pairs_of_one_name_in_several_folders_are_all_drawn() {
        let folder = tempfile::tempdir().unwrap();
        for of in ["train", "test"] {
            let at = |name: &str| folder.path().join(of).join(name);
            std::fs::create_dir(at("")).unwrap();
            let rows: String =
                (0..20).map(|row| format!("{row}.jpg,{of} {row}\n{row}.jpg,{of} again {row}\n")).collect();
            std::fs::write(at("captions.csv"), format!("file,caption\n{rows}")).unwrap();
        }
        let source = Source::new(folder.path().join("{train,test}/captions.csv"));
        let set = ProbedSet { source, columns: ["file", "caption"].map(str::to_owned), members: Vec::new() };
        let session = Session::new(Setup::new(folder.path().join("plugins.toml")));
        let mut drawn = Drawn::new(&session, &set, 0).unwrap();
        // Each picture once, however many captions it has.
        assert_eq!(drawn.next(&set, 100).len(), 40);
    }
}
