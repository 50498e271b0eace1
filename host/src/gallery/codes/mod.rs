//! Codes of a gallery's vectors: a bit a value, which choose what an approximate search then scores exactly.
//!
//! A vector, less the mean of all, is turned by a random rotation, and keeps the sign of each value and one factor, as
//! RaBitQ does (Gao and Long, SIGMOD 2024, arXiv 2405.12497). A search has three steps: a bit of each value of the query
//! against all codes, four bits of it against the best of these, and the vectors themselves for the best of those. How
//! many are scored exactly is found by trials when the codes are made, and so is the recall.
//!
//! The file `codes` is made anew as a whole. Rows that were added since are searched exactly, and removed ones are passed
//! over. Making it takes seconds where a graph takes an hour, and nothing has to be kept in step with it.

mod bits;
mod rotation;
mod trial;

use bytemuck::cast_slice;
use memmap2::Mmap;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

use super::row_set::RowSet;
use super::vectors::Vectors;
use super::{GalleryError, Hit, file};
use crate::file_lock::PathLock;
use crate::stop::Stop;
use crate::whole_file::PartFile;
use bits::{Query, agreements};
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
/// Rows of the second step for each that is scored exactly.
const COARSE: usize = 32;
/// One of so many blocks of 64 rows is in the sample that tells how well the rows of the second step must agree.
const SAMPLE: usize = 16;
/// Fewer sampled rows than these tell nothing.
const FEWEST_SAMPLED: u64 = 1000;
/// Rows of the second step, for each that the sample promises to be enough.
const MARGIN: f64 = 1.1;
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
    /// The codes in a gallery's folder; none if there are none for vectors of this width, or no more than `rows`.
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
        let info: CodesInfo =
            serde_json::from_slice(header.trim_ascii_end()).map_err(|_| damaged("its description cannot be parsed"))?;
        let rotation = Rotation::new(width);
        if info.version > VERSION {
            return Err(GalleryError::Newer { path, version: info.version });
        }
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

    fn factors(&self) -> &[f32] {
        let layout = self.layout();
        cast_slice(&self.map[layout.factors()..][..4 * layout.rows])
    }

    fn words(&self) -> &[u64] {
        cast_slice(&self.map[self.layout().codes()..])
    }

    /// The rows among `wanted` that are likely to have the greatest products with a query: `scored` of them, or all.
    pub(super) fn candidates(&self, wanted: &RowSet, query: &[f32], scored: usize) -> Vec<usize> {
        let (words, each, factors) = (self.words(), self.info.bits / 64, self.factors());
        let query = Query::new(&self.rotation.turned(query));
        let least = self.least(&query, wanted.words(), scored.saturating_mul(COARSE));
        let chunks = words.par_chunks(CHUNK * each).zip(wanted.words().par_chunks(CHUNK / 64)).enumerate();
        let mut estimates: Vec<(f32, usize)> = chunks
            .flat_map_iter(|(chunk, (words, wanted))| {
                let (first, mut agree) = (chunk * CHUNK, vec![0; words.len() / each]);
                agreements(&query, words, &mut agree);
                let best = bits::chosen(&agree, wanted, least);
                let products = bits::estimates(&query, words, &best);
                best.into_iter().zip(products).map(move |(at, product)| (product * factors[first + at], first + at))
            })
            .collect();
        if estimates.len() > scored {
            estimates.select_nth_unstable_by(scored, |one, other| other.0.total_cmp(&one.0));
            estimates.truncate(scored);
        }
        let mut rows: Vec<usize> = estimates.into_iter().map(|(_, row)| row).collect();
        rows.sort_unstable();
        rows
    }

    /// The least number of values that agree with a query in some `most` of the wanted rows, as a sample of them has it.
    fn least(&self, query: &Query, wanted: &[u64], most: usize) -> u16 {
        let (words, each) = (self.words(), self.info.bits / 64);
        let chunks = words.par_chunks(64 * each).zip(wanted).step_by(SAMPLE);
        let counted = chunks.fold(
            || vec![0_u32; self.info.bits + 1],
            |mut counts, (words, wanted)| {
                let mut agree = [0; 64];
                let agree = &mut agree[..words.len() / each];
                agreements(query, words, agree);
                bits::tally(agree, std::slice::from_ref(wanted), &mut counts);
                counts
            },
        );
        let add = |one: Vec<u32>, other: Vec<u32>| one.iter().zip(other).map(|(a, b)| a + b).collect();
        let counts = counted.reduce_with(add).unwrap_or_default();
        let all: usize = wanted.iter().map(|word| word.count_ones() as usize).sum();
        let sampled: u64 = counts.iter().copied().map(u64::from).sum();
        // Too few tell nothing of the others.
        let share = if sampled < FEWEST_SAMPLED { 1.0 } else { MARGIN * most as f64 / all as f64 };
        let (mut least, mut above) = (counts.len(), 0);
        while least > 0 && (above as f64) < share * sampled as f64 {
            least -= 1;
            above += counts[least];
        }
        if share < 1.0 { least as u16 } else { 0 }
    }

    /// The rows that are scored exactly for the `k` nearest.
    pub(super) fn scored_for(&self, k: usize) -> usize {
        self.info.scored.max(self.info.scored.saturating_mul(k) / trial::NEAREST).max(k.saturating_mul(8))
    }
}

/// Codes the vectors of the first `rows` rows into a gallery's folder, and tries them on the `live` ones; none if it was
/// stopped.
pub(super) fn write(
    folder: &Path,
    vectors: &Vectors,
    (width, rows): (usize, usize),
    live: &RowSet,
    stop: &Stop,
) -> Result<Option<CodesInfo>, GalleryError> {
    let path = folder.join(FILE);
    // Two who make them at once would write one file.
    let at = folder.join(LOCK);
    let lock = PathLock::take(at.clone()).map_err(|cause| GalleryError::io("lock", &at, cause))?;
    let _lock = lock.ok_or_else(|| GalleryError::InUse { path: folder.to_owned() })?;
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
    let untried = folder.join(UNTRIED);
    put(&untried, &info, &body)?;
    let tried =
        Codes::read(untried.clone(), width, rows).map(|codes| trial::run(&codes, vectors, (width, live), &mean, stop));
    fs::remove_file(&untried).map_err(|cause| GalleryError::io("remove", &untried, cause))?;
    let Some((scored, recall)) = tried? else { return Ok(None) };
    let info = CodesInfo { scored, recall, ..info };
    put(&path, &info, &body)?;
    Ok(Some(info))
}

/// Writes the file as a whole.
fn put(path: &Path, info: &CodesInfo, body: &[u8]) -> Result<(), GalleryError> {
    let mut header = serde_json::to_vec(info).expect("all keys are text");
    header.resize(HEADER, b' ');
    let write = || {
        let mut file = PartFile::create(path)?;
        file.write(&header)?;
        file.write(body)?;
        file.finish()
    };
    write().map_err(|cause| GalleryError::io("write", path, cause))
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

/// The rows of greatest product among `candidates`, scored by their vectors.
pub(super) fn scored(vectors: &Vectors, candidates: &[usize], query: &[f32], k: usize) -> super::top::Top {
    use super::top::Top;
    let scores: Vec<Hit> =
        candidates.par_iter().with_min_len(64).map(|&row| Hit { row, score: vectors.product(row, query) }).collect();
    let mut best = Top::new(k);
    scores.into_iter().for_each(|hit| best.offer(hit.row, hit.score));
    best
}
