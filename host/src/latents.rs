//! Rows of latents for training and export, independent of their storage.

use memmap2::Mmap;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// `len` latents of `width` f32 each, in row order: a column of a pair file seen through the cache, a tensor of a
/// safetensors file, or several of these side by side.
pub trait Latents: Send + Sync {
    /// Rows.
    fn len(&self) -> usize;

    /// f32 values a row.
    fn width(&self) -> usize;

    /// Copies row `index` into `out`, which is `width` long.
    fn copy_row(&self, index: usize, out: &mut [f32]);

    /// Announces that row `index` will be copied soon, so that slow reads can begin; returns immediately.
    fn read_ahead(&self, _index: usize) {}

    /// True if there are no rows.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The digest of each row's values; equal rows have the same.
pub(crate) fn digests(latents: &dyn Latents) -> Vec<blake3::Hash> {
    let digest = |row: usize| {
        let mut values = vec![0.0; latents.width()];
        latents.copy_row(row, &mut values);
        // -0 is 0.
        values.iter_mut().for_each(|value| *value += 0.0);
        blake3::hash(bytemuck::cast_slice(&values))
    };
    (0..latents.len()).into_par_iter().with_min_len(64).map(digest).collect()
}

/// Some rows of others, in any order.
pub struct Selected {
    latents: Arc<dyn Latents>,
    rows: Vec<usize>,
}

impl Selected {
    /// Row i is row `rows[i]` of `latents`.
    pub fn new(latents: Arc<dyn Latents>, rows: Vec<usize>) -> Self {
        Self { latents, rows }
    }
}

impl Latents for Selected {
    fn len(&self) -> usize {
        self.rows.len()
    }

    fn width(&self) -> usize {
        self.latents.width()
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        self.latents.copy_row(self.rows[index], out);
    }

    fn read_ahead(&self, index: usize) {
        self.latents.read_ahead(self.rows[index]);
    }
}

/// Several of the same width, one after the other.
pub struct Stacked(Vec<Box<dyn Latents>>);

impl Stacked {
    /// `parts` are of equal width; there is at least one.
    pub fn new(parts: Vec<Box<dyn Latents>>) -> Self {
        Self(parts)
    }

    /// The part with row `index`, and the row in it.
    fn at(&self, mut index: usize) -> (&dyn Latents, usize) {
        let part = self.0.iter().find(|part| {
            let within = index < part.len();
            index -= if within { 0 } else { part.len() };
            within
        });
        (&**part.expect("a row there is"), index)
    }
}

impl Latents for Stacked {
    fn len(&self) -> usize {
        self.0.iter().map(|part| part.len()).sum()
    }

    fn width(&self) -> usize {
        self.0[0].width()
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        let (part, row) = self.at(index);
        part.copy_row(row, out);
    }

    fn read_ahead(&self, index: usize) {
        let (part, row) = self.at(index);
        part.read_ahead(row);
    }
}

/// Several columns of the same length side by side, for a tower with several encoders.
pub struct Concatenated(Vec<Box<dyn Latents>>);

impl Concatenated {
    /// `parts` must have the same number of rows.
    pub fn new(parts: Vec<Box<dyn Latents>>) -> Self {
        assert!(parts.windows(2).all(|pair| pair[0].len() == pair[1].len()), "columns of different lengths");
        Self(parts)
    }
}

impl Latents for Concatenated {
    fn len(&self) -> usize {
        self.0.first().map_or(0, |part| part.len())
    }

    fn width(&self) -> usize {
        self.0.iter().map(|part| part.width()).sum()
    }

    fn copy_row(&self, index: usize, mut out: &mut [f32]) {
        for part in &self.0 {
            let (head, tail) = out.split_at_mut(part.width());
            part.copy_row(index, head);
            out = tail;
        }
    }

    fn read_ahead(&self, index: usize) {
        self.0.iter().for_each(|part| part.read_ahead(index));
    }
}

/// Rows in memory.
pub struct Dense {
    values: Vec<f32>,
    width: usize,
}

impl Dense {
    /// Rows of `width` values, one after the other.
    pub fn new(values: Vec<f32>, width: usize) -> Self {
        assert!(width > 0 && values.len().is_multiple_of(width), "no whole rows");
        Self { values, width }
    }
}

impl Latents for Dense {
    fn len(&self) -> usize {
        self.values.len() / self.width
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        out.copy_from_slice(&self.values[index * self.width..(index + 1) * self.width]);
    }
}

/// The root mean square of the values of rows that are spread over these; none without rows.
pub(crate) fn magnitude(latents: &dyn Latents) -> Option<f64> {
    /// Rows to look at.
    const ROWS: usize = 256;
    let (len, count) = (latents.len(), latents.len().min(ROWS));
    let mut row = vec![0.0; latents.width()];
    let squares = (0..count).map(|at| {
        latents.copy_row(at * len / count, &mut row);
        row.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>()
    });
    let sum: f64 = squares.sum();
    (count > 0).then(|| (sum / (count * latents.width()) as f64).sqrt())
}

/// Asks the operating system to read these bytes of a map ahead, if it can.
pub(crate) fn advise(map: &Mmap, bytes: Range<usize>) {
    #[cfg(unix)]
    if let Err(error) = map.advise_range(memmap2::Advice::WillNeed, bytes.start, bytes.len()) {
        tracing::debug!("no reading ahead: {error}");
    }
    #[cfg(not(unix))]
    let _ = (map, bytes);
}
