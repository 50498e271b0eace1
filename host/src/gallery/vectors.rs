//! The rows of values: append-only segments, mapped as they are.

use bytemuck::cast_slice;
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use memmap2::Mmap;
use pulp::Simd;
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::info::{BLOCK, FACTOR, Header};
use super::{Dtype, GalleryError, GalleryInfo, file};
use crate::kernels::arch;

/// The vectors of the rows that count.
#[derive(Debug)]
pub(super) struct Vectors {
    header: Header,
    rows: usize,
    segments: Vec<Mmap>,
}

/// Some rows in a row.
#[derive(Clone, Copy)]
pub(super) struct Tile<'a> {
    /// The first of them.
    pub(super) first: usize,
    dtype: Dtype,
    /// Values of each.
    width: usize,
    bytes: &'a [u8],
}

/// The file of a segment.
pub(super) fn path(folder: &Path, header: &Header, segment: usize) -> PathBuf {
    folder.join(format!("vectors-{segment:06}.{}", header.info.dtype.name()))
}

/// Rows of `width` values as they are stored.
pub(super) fn stored(values: &[f32], width: usize, dtype: Dtype) -> Cow<'_, [u8]> {
    match dtype {
        Dtype::F32 => Cow::Borrowed(cast_slice(values)),
        Dtype::F16 => {
            let mut halves = vec![0_u16; values.len()];
            halves.reinterpret_cast_mut::<f16>().convert_from_f32_slice(values);
            Cow::Owned(cast_slice(&halves).to_vec())
        }
        Dtype::I8 => Cow::Owned(values.chunks_exact(width).flat_map(narrowed).collect()),
    }
}

/// A row in 8 bits a value: of each block its factor, which is the largest value's 127th part, and multiples of that.
fn narrowed(row: &[f32]) -> Vec<u8> {
    let block = |values: &[f32]| {
        let factor = values.iter().fold(0.0_f32, |most, value| most.max(value.abs())) / 127.0;
        let multiple = |value: &f32| if factor > 0.0 { (value / factor).round_ties_even() as i8 } else { 0 };
        let multiples: Vec<u8> = values.iter().map(|value| multiple(value) as u8).collect();
        factor.to_le_bytes().into_iter().chain(multiples)
    };
    row.chunks(BLOCK).flat_map(block).collect()
}

/// Rows in 8 bits a value as they are stored, widened.
#[pulp::with_simd(widen = arch())]
#[inline(always)]
fn widen_with<'a, S: Simd>(_: S, bytes: &'a [u8], row_bytes: usize, width: usize, values: &'a mut [f32]) {
    for (row, values) in bytes.chunks_exact(row_bytes).zip(values.chunks_exact_mut(width)) {
        for (block, values) in row.chunks(FACTOR + BLOCK).zip(values.chunks_mut(BLOCK)) {
            let (factor, multiples) = block.split_first_chunk::<FACTOR>().expect("a block begins with it");
            let factor = f32::from_le_bytes(*factor);
            for (value, multiple) in values.iter_mut().zip(multiples) {
                *value = factor * f32::from(*multiple as i8);
            }
        }
    }
}

impl Vectors {
    pub(super) fn map(folder: &Path, header: &Header, rows: usize) -> Result<Self, GalleryError> {
        let map = |segment| {
            let rows = header.segment.min(rows - segment * header.segment);
            file::map(&path(folder, header, segment), (rows * header.row_bytes()) as u64)
        };
        let segments = (0..rows.div_ceil(header.segment)).map(map).collect::<Result<_, _>>()?;
        Ok(Self { header: header.clone(), rows, segments })
    }

    /// The values of a row.
    pub(super) fn row(&self, row: usize) -> Result<Vec<f32>, GalleryError> {
        let Some(map) = self.segments.get(row / self.header.segment).filter(|_| row < self.rows) else {
            return Err(GalleryError::Row { row, rows: self.rows });
        };
        let (at, bytes) = (row % self.header.segment, self.header.row_bytes());
        let tile = self.tile(row, &map[at * bytes..(at + 1) * bytes]);
        Ok(tile.values(&mut Vec::new()).to_vec())
    }

    /// The product of a row, which is there, with a query.
    pub(super) fn product(&self, row: usize, query: &[f32]) -> f32 {
        let (segment, at) = (row / self.header.segment, row % self.header.segment);
        let bytes = self.header.row_bytes();
        let tile = self.tile(row, &self.segments[segment][at * bytes..][..bytes]);
        let mut scratch = Vec::new();
        product(tile.values(&mut scratch), query)
    }

    /// All rows, `most` at a time or fewer at the end of a segment.
    pub(super) fn tiles(&self, most: usize) -> impl ParallelIterator<Item = Tile<'_>> {
        self.segments.par_iter().enumerate().flat_map(move |(segment, map)| {
            let tiles = map.par_chunks(most * self.header.row_bytes()).enumerate();
            tiles.map(move |(at, bytes)| self.tile(segment * self.header.segment + at * most, bytes))
        })
    }

    fn tile<'a>(&self, first: usize, bytes: &'a [u8]) -> Tile<'a> {
        let GalleryInfo { dtype, width, .. } = self.header.info;
        Tile { first, dtype, width, bytes }
    }

    /// The bytes of `rows`, in pieces.
    pub(super) fn stored(&self, rows: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let (capacity, bytes) = (self.header.segment, self.header.row_bytes());
        self.segments.iter().enumerate().map(move |(segment, map)| {
            let inside = |row: usize| row.clamp(segment * capacity, (segment + 1) * capacity) - segment * capacity;
            &map[inside(rows.start) * bytes..inside(rows.end) * bytes]
        })
    }
}

/// The product of two vectors.
pub(super) fn product(values: &[f32], query: &[f32]) -> f32 {
    dot(values, query)
}

#[pulp::with_simd(dot = arch())]
#[inline(always)]
fn dot_with<'a, S: Simd>(_: S, values: &'a [f32], query: &'a [f32]) -> f32 {
    let (values, rest) = values.as_chunks::<16>();
    let (queries, other) = query.as_chunks::<16>();
    let mut lanes = [0.0; 16];
    for (values, queries) in values.iter().zip(queries) {
        for (lane, (value, query)) in lanes.iter_mut().zip(values.iter().zip(queries)) {
            *lane += value * query;
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().zip(other).map(|(value, query)| value * query).sum::<f32>()
}

impl<'a> Tile<'a> {
    pub(super) fn rows(&self) -> usize {
        self.bytes.len() / self.dtype.row_bytes(self.width)
    }

    /// Its values, row by row, converted in `scratch` if necessary.
    pub(super) fn values<'b>(&self, scratch: &'b mut Vec<f32>) -> &'b [f32]
    where
        'a: 'b,
    {
        match self.dtype {
            // A map starts at a page, and a row at a multiple of its values' size from it.
            Dtype::F32 => cast_slice(self.bytes),
            Dtype::F16 => {
                let halves = cast_slice::<u8, u16>(self.bytes).reinterpret_cast::<f16>();
                scratch.resize(halves.len(), 0.0);
                halves.convert_to_f32_slice(scratch);
                scratch
            }
            Dtype::I8 => {
                let row_bytes = self.dtype.row_bytes(self.width);
                scratch.resize(self.rows() * self.width, 0.0);
                widen(self.bytes, row_bytes, self.width, scratch);
                scratch
            }
        }
    }
}
