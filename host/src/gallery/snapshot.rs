//! A gallery as it was when it was opened.

use bytemuck::cast_slice;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, OnceLock, PoisonError};

use super::codes::{self, Codes, CodesInfo};
use super::ids::Ids;
use super::info::{self, Header};
use super::lines::Lines;
use super::log::Log;
use super::row_set::RowSet;
use super::stamp::Stamp;
use super::vectors::Vectors;
use super::{Exhibit, Filter, GalleryError, GalleryInfo, Hit, file, search};
use crate::stop::Stop;

/// The file of removed rows.
pub(super) const REMOVED: &str = "removed";

/// A gallery as it was when it was opened; later commits of a [`Writer`](super::Writer) are seen after opening it
/// again. Opening maps vectors and items without reading them; searching takes no lock, and is safe from many threads.
#[derive(Debug)]
pub struct Gallery {
    pub(super) folder: PathBuf,
    pub(super) header: Header,
    pub(super) log: Log,
    pub(super) lines: Lines,
    pub(super) vectors: Vectors,
    /// Rows that were not removed.
    pub(super) live: RowSet,
    /// The codes of the first rows, if there are any.
    pub(super) codes: Option<Codes>,
    /// The rows by id, once somebody has asked for one.
    ids: OnceLock<Ids>,
    /// Held while the rows by id are found.
    finds_ids: Mutex<()>,
    /// gallery.json, which is written once, and the codes, which are made anew as a whole.
    stamps: [Option<Stamp>; 2],
}

impl Gallery {
    /// The gallery in `folder`, as of its last commit.
    pub fn open(folder: &Path) -> Result<Self, GalleryError> {
        // What changes while this opens is seen as a change afterwards.
        let stamps = stamps(folder);
        let header = Header::read(folder)?;
        let log = Log::open(folder)?;
        let lines = Lines::map(folder, log.counts)?;
        let vectors = Vectors::map(folder, &header, log.counts.rows)?;
        let live = live(folder, &log)?;
        let codes = Codes::open(folder, header.info.width, log.counts.rows).unwrap_or_else(|error| {
            tracing::warn!("{error}: the search is exact; make the codes anew with `fusemix gallery index`");
            None
        });
        let (folder, ids, finds_ids) = (folder.to_owned(), OnceLock::new(), Mutex::default());
        Ok(Self { folder, header, log, lines, vectors, live, codes, ids, finds_ids, stamps })
    }

    /// True if there is a gallery in `folder`.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(info::FILE).exists()
    }

    /// True if nothing has been added or removed since it was opened, no codes were made, and no other gallery has
    /// taken its place.
    pub fn is_current(&self) -> Result<bool, GalleryError> {
        Ok(stamps(&self.folder) == self.stamps && self.log.is_last()?)
    }

    /// True if it is what its folder holds, with later commits or without, and no other gallery has taken its place.
    pub fn is_in_place(&self) -> bool {
        let [there, _] = &self.stamps;
        Stamp::of(&self.folder.join(info::FILE)) == *there
    }

    /// The row of the item with this id. The first call reads all ids.
    pub fn row_of(&self, id: &str) -> Result<Option<usize>, GalleryError> {
        self.ids()?.find(id, |row| Ok(self.lines.id(row)? == id))
    }

    /// The rows by id, which one thread finds while others wait for it.
    fn ids(&self) -> Result<&Ids, GalleryError> {
        if let Some(ids) = self.ids.get() {
            return Ok(ids);
        }
        let _alone = self.finds_ids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ids) = self.ids.get() {
            return Ok(ids);
        }
        let ids = self.lines.ids(self.live.iter())?;
        Ok(self.ids.get_or_init(|| ids))
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The description of its contents.
    pub fn info(&self) -> &GalleryInfo {
        &self.header.info
    }

    /// The description of its codes, if it has any: a search goes by them.
    pub fn codes(&self) -> Option<&CodesInfo> {
        self.codes.as_ref().map(|codes| &codes.info)
    }

    /// The same gallery, whose searches are exact.
    pub fn exact(self) -> Self {
        Self { codes: None, ..self }
    }

    /// Makes codes for all rows, by which later openings search, and tries them; none if it was stopped.
    pub fn make_codes(&self, stop: &Stop) -> Result<Option<CodesInfo>, GalleryError> {
        if self.live.len() == 0 {
            return Err(GalleryError::NothingToCode { path: self.folder.clone() });
        }
        codes::write(self, stop)
    }

    /// Items in it.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Its rows, those of removed items among them.
    pub fn rows_in_all(&self) -> usize {
        self.log.counts.rows
    }

    /// True if it has no items.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// An error if it has no commit though its files are not empty; a warning if they have more than the log counts.
    pub fn check_counted(&self) -> Result<(), GalleryError> {
        match self.uncounted()? {
            0 => {}
            bytes if self.log.commits == 0 => return Err(GalleryError::NoCommit { path: self.folder.clone(), bytes }),
            bytes => tracing::warn!(
                "{}: {bytes} bytes after the last commit do not count: items are being added now, or a program was \
                 stopped while it added them (add them again), or the file `log` was cut",
                self.folder.display()
            ),
        }
        Ok(())
    }

    /// The rows of its items, in the order in which they were added; a row that was removed leaves a gap.
    pub fn rows(&self) -> impl Iterator<Item = usize> + '_ {
        self.live.iter()
    }

    /// The item of a row.
    pub fn exhibit(&self, row: usize) -> Result<Exhibit, GalleryError> {
        self.lines.exhibit(row, self.info().columns.len())
    }

    /// Bytes of the item of a row as it is stored: its id and its metadata as text.
    pub fn item_bytes(&self, row: usize) -> Result<usize, GalleryError> {
        Ok(self.lines.line(row)?.len())
    }

    /// The vector of a row; in a gallery of f16, as it was rounded.
    pub fn vector(&self, row: usize) -> Result<Vec<f32>, GalleryError> {
        self.vectors.row(row)
    }

    /// The `k` items nearest to each of `queries` (row by row, of the gallery's width) among those that the filter
    /// keeps: the greatest product first, with ties in the order of addition. Results do not depend on the number of
    /// threads, and on the other queries only in the last bits. With codes, a few of the nearest may be missing.
    pub fn search(&self, queries: &[f32], k: usize, filter: Option<&Filter>) -> Result<Vec<Vec<Hit>>, GalleryError> {
        let width = self.info().width;
        if !queries.len().is_multiple_of(width) {
            return Err(GalleryError::QueryWidth { count: queries.len(), width });
        }
        if let Some(at) = queries.iter().position(|value| !value.is_finite()) {
            return Err(GalleryError::QueryNotFinite { query: at / width });
        }
        let kept = filter.map(|filter| self.kept(filter)).transpose()?;
        let wanted = kept.as_ref().unwrap_or(&self.live);
        let found = match &self.codes {
            // Where few are wanted, looking at all of these is as fast.
            Some(codes) if codes.scored_for(k).saturating_mul(4) < wanted.len() => {
                self.by_codes(codes, wanted, queries, k)
            }
            _ => search::search(&self.vectors, wanted, width, queries, k),
        };
        match found.iter().flatten().find(|hit| !hit.score.is_finite()) {
            Some(hit) => Err(self.impossible(*hit)),
            None => Ok(found),
        }
    }

    /// A search in which codes choose what is scored; rows without a code are all scored.
    fn by_codes(&self, codes: &Codes, wanted: &RowSet, queries: &[f32], k: usize) -> Vec<Vec<Hit>> {
        let (width, coded) = (self.info().width, codes.info.rows);
        let later = wanted.from(coded);
        let mut others = search::search(&self.vectors, &later, width, queries, k).into_iter();
        let of = |query: &[f32]| {
            let mut best = codes.nearest(&self.vectors, wanted, query, (codes.scored_for(k), k));
            let later = others.next().unwrap_or_default();
            later.into_iter().for_each(|hit| best.offer(hit.row, hit.score));
            best.into_hits()
        };
        // Within the pool, whose threads else would be woken for each of a search's steps.
        rayon::scope(|_| queries.chunks_exact(width).map(of).collect())
    }

    /// The error of a score that no vector of this gallery can have.
    pub(crate) fn impossible(&self, Hit { row, score }: Hit) -> GalleryError {
        GalleryError::Score { path: self.folder.clone(), row, score }
    }

    /// The rows that a filter keeps, in the order in which they were added.
    pub fn filtered(&self, filter: &Filter) -> Result<Vec<usize>, GalleryError> {
        Ok(self.kept(filter)?.iter().collect())
    }

    fn kept(&self, filter: &Filter) -> Result<RowSet, GalleryError> {
        let columns = &self.info().columns;
        let field = |name: &str| match columns.iter().position(|column| column == name) {
            Some(index) => Some(index + 1),
            None => (name == "id").then_some(0),
        };
        let filter = filter.of(field).map_err(|column| {
            let columns = std::iter::once("id".to_owned()).chain(columns.iter().cloned()).collect();
            GalleryError::NoColumn { column: column.to_owned(), columns }
        })?;
        let filter = filter.with_names(0);
        self.live.filtered(|row| filter.keeps(|field| self.lines.cell(row, field)))
    }
}

fn stamps(folder: &Path) -> [Option<Stamp>; 2] {
    [info::FILE, codes::FILE].map(|file| Stamp::of(&folder.join(file)))
}

/// The rows of a gallery without removed ones.
pub(super) fn live(folder: &Path, log: &Log) -> Result<RowSet, GalleryError> {
    let (path, mut live) = (folder.join(REMOVED), RowSet::all(log.counts.rows));
    let removed = file::map(&path, (log.counts.removed as u64).saturating_mul(8))?;
    for &row in cast_slice::<u8, u64>(&removed) {
        if row >= log.counts.rows as u64 {
            return Err(GalleryError::damaged(&path, format!("it names row {row} of {}", log.counts.rows)));
        }
        live.remove(row as usize);
    }
    Ok(live)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gallery::{Dtype, Origin, Writer};
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::fs;

    fn build(folder: &Path, ids: &[&str]) {
        let origin =
            Origin { run: "runs/a".into(), digest: "1f".into(), tower: "image".into(), encoders: BTreeMap::new() };
        let columns = vec!["name".to_owned()];
        let info = GalleryInfo { width: 2, dtype: Dtype::F32, columns, item_column: None, id_column: None, origin };
        add(&mut Writer::create(folder, info).unwrap(), ids);
    }

    fn add(writer: &mut Writer, ids: &[&str]) {
        let exhibits: Vec<Exhibit> =
            ids.iter().map(|id| Exhibit { id: (*id).to_owned(), metadata: vec![json!(id)] }).collect();
        let vectors: Vec<f32> = (0..2 * ids.len()).map(|value| value as f32).collect();
        writer.append(&exhibits, &vectors).unwrap();
    }

    #[test]
    fn commits_codes_and_another_gallery_in_its_place_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        build(&path, &["a", "b"]);
        let before = Gallery::open(&path).unwrap();
        assert!(before.is_current().unwrap() && before.is_in_place());
        add(&mut Writer::open(&path).unwrap(), &["c"]);
        assert!(!before.is_current().unwrap() && before.is_in_place());

        let before = Gallery::open(&path).unwrap();
        before.make_codes(&Stop::default()).unwrap().unwrap();
        assert!(!before.is_current().unwrap() && before.is_in_place());
        let coded = Gallery::open(&path).unwrap();
        assert!(coded.is_current().unwrap() && coded.codes().is_some());
        coded.make_codes(&Stop::default()).unwrap().unwrap();
        assert!(!coded.is_current().unwrap(), "the codes were made anew");

        // As many commits and items as before.
        let before = Gallery::open(&path).unwrap();
        fs::remove_dir_all(&path).unwrap();
        assert!(!before.is_current().unwrap() && !before.is_in_place());
        build(&path, &["d", "e"]);
        add(&mut Writer::open(&path).unwrap(), &["f"]);
        assert!(!before.is_current().unwrap() && !before.is_in_place());
    }

    #[test]
    fn rows_are_found_by_id_from_many_threads() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gallery");
        build(&path, &["a", "b", "c"]);
        let gallery = Gallery::open(&path).unwrap();
        std::thread::scope(|scope| {
            for (row, id) in ["a", "b", "c"].into_iter().enumerate() {
                let gallery = &gallery;
                scope.spawn(move || assert_eq!(gallery.row_of(id).unwrap(), Some(row)));
            }
        });
        assert_eq!(gallery.row_of("d").unwrap(), None);
    }
}
