//! Codes of a gallery's vectors: a bit a value, which choose what an approximate search then scores exactly.
//!
//! A vector, less the mean of all, is turned by a random rotation, and keeps the sign of each value and one factor, as
//! RaBitQ does (Gao and Long, SIGMOD 2024, arXiv 2405.12497). A search has three steps: a bit of each value of the query
//! against all codes, four bits of it against the best of these, and the vectors themselves for the best of those. How
//! many are scored exactly at most is found by trials when the codes are made, and so is the recall.
//!
//! The file `codes` is made anew as a whole. Rows that were added since are searched exactly, and removed ones are passed
//! over. Making it takes seconds where a graph takes minutes, and nothing has to be kept in step with it.

mod bits;
mod nearest;
mod rotation;
mod trial;

use bytemuck::cast_slice;
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

use super::row_set::RowSet;
use super::vectors::Vectors;
use super::{Gallery, GalleryError, file};
use crate::file_lock::PathLock;
use crate::stop::Stop;
use crate::whole_file::PartFile;
use rotation::Rotation;

/// The file's name.
pub(super) const FILE: &str = "codes";
/// The file's name until its codes were tried.
const UNTRIED: &str = "codes.untried";
/// Held by who makes them.
const LOCK: &str = "codes.lock";
/// The newest version of the format that this program knows.
const VERSION: u32 = 1;
/// Bytes of the description at the file's beginning, padded with blanks.
const HEADER: usize = 4096;
/// Rows that are coded, or scanned, together.
const CHUNK: usize = 4096;
/// The rows that are scored exactly where a trial finds enough among them.
const FEWEST: usize = 256;

/// The description of a gallery's codes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CodesInfo {
    version: u32,
    /// Rows that have a code: the first ones.
    pub rows: usize,
    /// Values a vector.
    width: usize,
    /// Bits a code.
    pub bits: usize,
    /// Rows that are scored exactly for the ten nearest.
    pub scored: usize,
    /// The share of the ten nearest that a search finds, by trials.
    pub recall: f64,
    /// A checksum of what follows.
    checksum: String,
}

/// The codes of the first rows of a gallery.
#[derive(Debug)]
pub(super) struct Codes {
    pub(super) info: CodesInfo,
    rotation: Rotation,
    map: Mmap,
}

/// Values behind the header: the rotated mean, then a factor a row, then the bits.
struct Layout {
    rows: usize,
    bits: usize,
}

impl Layout {
    fn factors(&self) -> usize {
        HEADER + 4 * self.bits
    }

    /// Where the bits begin: at a multiple of 8.
    fn codes(&self) -> usize {
        (self.factors() + 4 * self.rows).next_multiple_of(8)
    }

    fn bytes(&self) -> usize {
        self.codes() + self.rows * self.bits / 8
    }
}

impl Codes {
    /// The codes in a gallery's folder, if there are any; an error if they are not for vectors of this width, or for
    /// more than `rows`.
    pub(super) fn open(folder: &Path, width: usize, rows: usize) -> Result<Option<Self>, GalleryError> {
        let path = folder.join(FILE);
        if path.exists() { Self::read(path, width, rows).map(Some) } else { Ok(None) }
    }

    fn read(path: PathBuf, width: usize, rows: usize) -> Result<Self, GalleryError> {
        let damaged = |what: &str| GalleryError::damaged(&path, what);
        let bytes = fs::metadata(&path).map_err(|cause| GalleryError::io("read", &path, cause))?.len();
        // Mapped once: another may put new codes into its place.
        let map = file::map(&path, bytes)?;
        let header = map.get(..HEADER).ok_or_else(|| damaged("it is cut"))?;
        let unparsed = |_| damaged("its description cannot be parsed");
        let header: Value = serde_json::from_slice(header.trim_ascii_end()).map_err(unparsed)?;
        let version = u32::try_from(header["version"].as_u64().unwrap_or(0)).unwrap_or(u32::MAX);
        if version > VERSION {
            return Err(GalleryError::Newer { path, version });
        }
        let info: CodesInfo = serde_json::from_value(header).map_err(unparsed)?;
        let rotation = Rotation::new(width);
        if info.width != width || info.bits != rotation.bits() || info.rows > rows || info.rows == 0 {
            return Err(damaged("it is of another gallery"));
        }
        if map.len() != (Layout { rows: info.rows, bits: info.bits }).bytes() {
            return Err(damaged("it is cut"));
        }
        Ok(Self { info, rotation, map })
    }

    /// True if the codes are as they were written.
    pub(super) fn are_whole(&self) -> bool {
        checksum(&self.map[HEADER..]) == self.info.checksum
    }

    fn layout(&self) -> Layout {
        Layout { rows: self.info.rows, bits: self.info.bits }
    }

    fn turned_mean(&self) -> &[f32] {
        cast_slice(&self.map[HEADER..self.layout().factors()])
    }

    fn factors(&self) -> &[f32] {
        let layout = self.layout();
        cast_slice(&self.map[layout.factors()..][..4 * layout.rows])
    }

    fn words(&self) -> &[u64] {
        cast_slice(&self.map[self.layout().codes()..])
    }

    /// The rows that are scored exactly for the `k` nearest.
    pub(super) fn scored_for(&self, k: usize) -> usize {
        self.info.scored.max(self.info.scored.saturating_mul(k) / trial::NEAREST).max(k.saturating_mul(8))
    }
}

/// Codes all vectors of a gallery into its folder, and tries them on the live ones; none if it was stopped.
pub(super) fn write(gallery: &Gallery, stop: &Stop) -> Result<Option<CodesInfo>, GalleryError> {
    let Gallery { folder, vectors, live, .. } = gallery;
    let (width, rows) = (gallery.info().width, gallery.rows_in_all());
    let path = folder.join(FILE);
    if !gallery.is_in_place() {
        return Err(GalleryError::Rebuilt { path: folder.clone() });
    }
    // Two who make them at once would write one file.
    let at = folder.join(LOCK);
    let lock = PathLock::take(at.clone()).map_err(|cause| GalleryError::io("lock", &at, cause))?;
    let _lock = lock.ok_or_else(|| GalleryError::InUse { path: folder.to_owned() })?;
    let untried = folder.join(UNTRIED);
    // Of one who was stopped.
    let _ = fs::remove_file(&untried);
    let rotation = Rotation::new(width);
    let layout = Layout { rows, bits: rotation.bits() };
    let Some(mean) = mean(vectors, width, live, stop) else { return Ok(None) };
    let coded = vectors.tiles(CHUNK).map(|tile| {
        if stop.is_asked() {
            return None;
        }
        let mut scratch = Vec::new();
        let values = tile.values(&mut scratch);
        let (mut factors, mut words) = (Vec::new(), Vec::new());
        for vector in values.chunks_exact(width) {
            let centred: Vec<f32> = vector.iter().zip(&mean).map(|(value, mean)| value - mean).collect();
            let turned = rotation.turned(&centred);
            factors.push(bits::factor(&turned));
            words.extend(bits::signs(&turned));
        }
        Some((tile.first, factors, words))
    });
    let Some(mut coded) = coded.collect::<Option<Vec<_>>>() else { return Ok(None) };
    coded.sort_unstable_by_key(|(first, ..)| *first);
    let mut body = vec![0_u8; layout.bytes() - HEADER];
    body[..4 * layout.bits].copy_from_slice(cast_slice(&rotation.turned(&mean)));
    let (mut factor, mut word) = (layout.factors() - HEADER, layout.codes() - HEADER);
    for (_, factors, words) in coded {
        let (factors, words): (&[u8], &[u8]) = (cast_slice(&factors), cast_slice(&words));
        body[factor..factor + factors.len()].copy_from_slice(factors);
        body[word..word + words.len()].copy_from_slice(words);
        (factor, word) = (factor + factors.len(), word + words.len());
    }
    let checksum = checksum(&body);
    let info = CodesInfo { version: VERSION, rows, width, bits: layout.bits, scored: FEWEST, recall: 0.0, checksum };
    // Tried as they are searched, under another name: nobody goes by codes that were not tried.
    put(gallery, &untried, &info, &body)?;
    let tried =
        Codes::read(untried.clone(), width, rows).map(|codes| trial::run(&codes, vectors, (width, live), &mean, stop));
    fs::remove_file(&untried).map_err(|cause| GalleryError::io("remove", &untried, cause))?;
    let Some((scored, recall)) = tried? else { return Ok(None) };
    let info = CodesInfo { scored, recall, ..info };
    put(gallery, &path, &info, &body)?;
    Ok(Some(info))
}

/// Writes the file as a whole, unless another gallery has taken the place of this one.
fn put(gallery: &Gallery, path: &Path, info: &CodesInfo, body: &[u8]) -> Result<(), GalleryError> {
    let mut header = serde_json::to_vec(info).expect("all keys are text");
    header.resize(HEADER, b' ');
    let failed = |cause| GalleryError::io("write", path, cause);
    let mut file = PartFile::create(path).map_err(failed)?;
    file.write(&header).and_then(|()| file.write(body)).map_err(failed)?;
    // Asked last: where a folder takes this one's place from here on, the file stays in this one.
    match gallery.is_in_place() {
        true => file.finish().map_err(failed),
        false => Err(GalleryError::Rebuilt { path: gallery.folder().to_owned() }),
    }
}

/// The mean of the live rows; none if it was stopped.
fn mean(vectors: &Vectors, width: usize, live: &RowSet, stop: &Stop) -> Option<Vec<f32>> {
    let sums = vectors.tiles(CHUNK).map(|tile| {
        let mut scratch = Vec::new();
        let mut sums = vec![0.0_f64; width];
        for (row, vector) in (tile.first..).zip(tile.values(&mut scratch).chunks_exact(width)) {
            if live.contains(row) {
                sums.iter_mut().zip(vector).for_each(|(sum, value)| *sum += f64::from(*value));
            }
        }
        (!stop.is_asked()).then_some((tile.first, sums))
    });
    // Added in order, so that the mean is the same whatever the number of threads.
    let mut sums = sums.collect::<Option<Vec<_>>>()?;
    sums.sort_unstable_by_key(|(first, _)| *first);
    let mut mean = vec![0.0_f64; width];
    for (_, sums) in sums {
        mean.iter_mut().zip(sums).for_each(|(mean, sum)| *mean += sum);
    }
    Some(mean.into_iter().map(|sum| (sum / live.len().max(1) as f64) as f32).collect())
}

fn checksum(body: &[u8]) -> String {
    blake3::hash(body).to_hex()[..16].to_owned()
}
