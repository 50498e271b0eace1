//! The mask of pairs that share an item: they are no negatives of each other.

use bytemuck::cast_slice;
use pulp::Simd;
use rayon::prelude::*;

use super::{Gpu, Kernel, Shader, arch, groups, slices};

/// The items of a row by number: its first and its second one on either side; the same twice without mixing.
pub const ITEMS: usize = 4;

/// The cosine of two pairs that share an item: its exponential is 0 at any temperature, and so is its gradient.
pub const MASKED: f32 = -1e30;

/// Reads `items (ITEMS x pairs)`, as bits; changes `tile (rows x columns)` of cosines where a row's pair and a column's
/// have an item in common, but for the pairs themselves.
#[derive(Clone, Copy, Debug)]
pub struct Mask {
    /// The first row and the number of rows of the tile.
    pub rows: (usize, usize),
    /// The same of its columns.
    pub columns: (usize, usize),
    /// B.
    pub pairs: usize,
}

impl Kernel for Mask {
    fn name(&self) -> &'static str {
        "mask"
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Self { rows, columns, pairs } = *self;
        let params = [rows.0, rows.1, columns.0, columns.1, pairs].map(|count| count as u32);
        let workgroups = groups(rows.1, 1);
        Shader {
            source: include_str!("mask.wgsl"),
            entry: "mask",
            params: params.into(),
            workgroups,
            ..Shader::default()
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([items], [tile]) = slices(reads, writes);
        let (items, (first, count)): (&[u32], _) = (cast_slice(items), self.columns);
        let columns: [&[u32]; ITEMS] = std::array::from_fn(|of| &items[of * self.pairs + first..][..count]);
        tile.par_chunks_mut(count).enumerate().with_min_len(4).for_each(|(at, tile)| {
            let row = self.rows.0 + at;
            let own = row.checked_sub(first).filter(|own| *own < count);
            let kept = own.map(|own| tile[own]);
            mask_row(tile, columns, std::array::from_fn(|of| items[of * self.pairs + row]));
            if let (Some(own), Some(kept)) = (own, kept) {
                tile[own] = kept;
            }
        });
    }
}

/// Masks the cosines of a row with the columns that have one of its items.
#[pulp::with_simd(mask_row = arch())]
#[inline(always)]
fn mask_row_with<'a, S: Simd>(_: S, tile: &'a mut [f32], columns: [&'a [u32]; ITEMS], row: [u32; ITEMS]) {
    let [a, b, c, d] = columns;
    let [first, second, third, fourth] = row;
    for ((((value, a), b), c), d) in tile.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        let on_one = (*a == first) | (*a == second) | (*b == first) | (*b == second);
        let on_other = (*c == third) | (*c == fourth) | (*d == third) | (*d == fourth);
        *value = if on_one | on_other { MASKED } else { *value };
    }
}
