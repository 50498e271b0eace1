//! A matrix of numbers in a mapped file, read as f32.

use half::{bf16, f16};
use memmap2::Mmap;
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use crate::latents::{Latents, advise};
use crate::wording::short_path;

/// A number as a file stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    F16,
    Bf16,
    F32,
    F64,
}

/// Latents that a file holds row by row, from row 0 on.
pub struct PrecomputedLatents {
    pub(super) map: Arc<Mmap>,
    pub(super) bytes: Range<usize>,
    pub(super) stored: Stored,
    /// True if the first byte of a number is its highest.
    pub(super) is_big_endian: bool,
    pub(super) rows: usize,
    pub(super) width: usize,
}

/// The rows of a matrix that are no latents.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Missing {
    /// Rows of NaN alone, as exports have for items that failed.
    pub empty: Vec<usize>,
    /// Rows with some value that is not finite, and the column of their first one.
    pub broken: Vec<(usize, usize)>,
    /// Rows whose values are a million times those of the usual row: one of them decides the mean and the deviation of
    /// all, and nothing can be learned from the others.
    pub far: Vec<usize>,
}

/// The size of a row that is far from all others, in units of their median.
const FAR: f64 = 1e6;

impl Stored {
    /// Bytes of a number.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::Bf16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
        }
    }

    /// The numbers in these bytes, which are little-endian.
    fn read(self, bytes: &[u8], out: &mut [f32]) {
        let out = out.iter_mut();
        match self {
            Self::F16 => {
                out.zip(bytes.as_chunks().0).for_each(|(out, &bytes)| *out = f16::from_le_bytes(bytes).to_f32());
            }
            Self::Bf16 => {
                out.zip(bytes.as_chunks().0).for_each(|(out, &bytes)| *out = bf16::from_le_bytes(bytes).to_f32());
            }
            Self::F32 => out.zip(bytes.as_chunks().0).for_each(|(out, &bytes)| *out = f32::from_le_bytes(bytes)),
            Self::F64 => out.zip(bytes.as_chunks().0).for_each(|(out, &bytes)| *out = f64::from_le_bytes(bytes) as f32),
        }
    }
}

impl PrecomputedLatents {
    /// The values of row `index`, whatever they are stored as: the same ones are the same item.
    pub fn row_content(&self, index: usize) -> Cow<'_, [u8]> {
        if self.stored == Stored::F32 && !self.is_big_endian {
            return Cow::Borrowed(&self.map[self.row(index)]);
        }
        let mut values = vec![0.0_f32; self.width()];
        self.copy_row(index, &mut values);
        Cow::Owned(values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// The rows that are no latents, in order.
    pub fn missing(&self) -> Missing {
        let look = |values: &mut Vec<f32>, row: usize| {
            values.resize(self.width, 0.0);
            self.copy_row(row, values);
            match values.iter().position(|value| !value.is_finite()) {
                None => Ok(values.iter().fold(0.0_f32, |most, value| most.max(value.abs()))),
                Some(column) => Err((column, values.iter().all(|value| value.is_nan()))),
            }
        };
        let found: Vec<_> = (0..self.rows).into_par_iter().map_init(Vec::new, look).collect();
        let usual = FAR * f64::from(median(found.iter().flatten().copied().filter(|size| *size > 0.0).collect()));
        let mut missing = Missing::default();
        for (row, found) in found.into_iter().enumerate() {
            match found {
                Err((_, true)) => missing.empty.push(row),
                Err((column, false)) => missing.broken.push((row, column)),
                Ok(size) if f64::from(size) > usual => missing.far.push(row),
                Ok(_) => {}
            }
        }
        missing
    }

    /// The range of row `index` in the file.
    fn row(&self, index: usize) -> Range<usize> {
        let row = self.width * self.stored.bytes();
        let start = self.bytes.start + index * row;
        start..start + row
    }
}

impl Missing {
    /// All of them.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        let broken = self.broken.iter().map(|(row, _)| row);
        self.empty.iter().chain(broken).chain(&self.far).copied()
    }

    /// Warns of each kind.
    pub(super) fn warn(&self, path: &Path, tensor: &str) {
        for doubt in self.doubts() {
            tracing::warn!("{}: tensor `{tensor}`: {doubt}", short_path(path).display());
        }
    }

    /// Each kind in words, for a warning each; rows and columns are counted from 0, as arrays are.
    pub(super) fn doubts(&self) -> Vec<String> {
        let rows = |count: usize| if count == 1 { "1 row".to_owned() } else { format!("{count} rows") };
        let empty = self.empty.first().map(|first| {
            format!(
                "{} of NaN alone, the first at index {first}, left out as items that failed",
                rows(self.empty.len())
            )
        });
        let broken = self.broken.first().map(|(row, column)| {
            let count = rows(self.broken.len());
            format!("{count} left out with values that are not finite, the first at index [{row}, {column}]")
        });
        let far = self.far.first().map(|first| {
            let count = rows(self.far.len());
            format!("{count} left out with values a million times those of the others, the first at index {first}")
        });
        empty.into_iter().chain(broken).chain(far).collect()
    }
}

/// The median; infinite without values.
fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() { f32::INFINITY } else { *values.select_nth_unstable_by(middle, f32::total_cmp).1 }
}

impl Latents for PrecomputedLatents {
    fn len(&self) -> usize {
        self.rows
    }

    fn width(&self) -> usize {
        self.width
    }

    fn copy_row(&self, index: usize, out: &mut [f32]) {
        // Formats align matrices to no more than a header's length, so a row is read byte by byte.
        let bytes = &self.map[self.row(index)];
        if self.is_big_endian {
            let mut bytes = bytes.to_vec();
            bytes.chunks_exact_mut(self.stored.bytes()).for_each(<[u8]>::reverse);
            self.stored.read(&bytes, out);
        } else {
            self.stored.read(bytes, out);
        }
    }

    fn read_ahead(&self, index: usize) {
        advise(&self.map, self.row(index));
    }
}
