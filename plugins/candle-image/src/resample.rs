//! Resizing identical to Pillow 13's (`Resample.c`): in fixed point, one dimension after the other.

use pulp::{Arch, Simd};
use std::ops::Range;

use crate::filter::Filter;

/// Fractional bits of a weight. A sum of bytes times weights, which may overshoot, fits into 32 bits.
const BITS: u32 = 32 - 8 - 2;
const HALF: i32 = 1 << (BITS - 1);

/// The part of a resized picture: `rows` (RGB) are resized `to` height and width, and the part of `size` from row and
/// column `start` is returned, row by row.
pub(crate) fn resample(rows: &[&[u8]], to: [usize; 2], start: [usize; 2], size: [usize; 2], filter: Filter) -> Vec<u8> {
    let from = [rows.len(), rows[0].len() / 3];
    if filter == Filter::Nearest {
        return nearest(rows, [0, 1].map(|dim| places(from[dim], to[dim], start[dim], size[dim])));
    }
    let [down, across] = [0, 1].map(|dim| Weights::new(from[dim], to[dim], start[dim]..start[dim] + size[dim], filter));
    // Bicubic overshoots, and what does is cut off in between, so that the order shows. It also keeps what lies between
    // small, however thin a picture is.
    let [less_down, less_across] = [0, 1].map(|dim| from[dim] as i64 - to[dim] as i64);
    if less_down > 0 && less_down > 2 * less_across {
        let between = down.of_rows(rows, 0);
        across.of_columns(&between.chunks_exact(from[1] * 3).collect::<Vec<_>>())
    } else {
        let seen = down.seen();
        let between = across.of_columns(&rows[seen.clone()]);
        down.of_rows(&between.chunks_exact(size[1] * 3).collect::<Vec<_>>(), seen.start)
    }
}

/// The weights of the old places for each new place of a dimension.
struct Weights {
    /// The old places for each new one.
    spans: Vec<Range<usize>>,
    /// Their weights, span by span.
    weights: Vec<i32>,
}

impl Weights {
    /// The weights for `places` of `to`.
    fn new(from: usize, to: usize, places: Range<usize>, filter: Filter) -> Self {
        let scale = from as f64 / to as f64;
        let wide = scale.max(1.0);
        let (support, narrow) = (filter.support() * wide, 1.0 / wide);
        let (mut spans, mut weights, mut exact) = (Vec::new(), Vec::new(), Vec::new());
        for place in places {
            let centre = (place as f64 + 0.5) * scale;
            let span = (centre - support + 0.5).max(0.0) as usize..from.min((centre + support + 0.5) as usize);
            exact.clear();
            exact.extend(span.clone().map(|old| filter.weight((old as f64 - centre + 0.5) * narrow)));
            let sum: f64 = exact.iter().sum();
            weights.extend(exact.iter().map(|weight| (weight / sum * f64::from(1 << BITS)).round() as i32));
            spans.push(span);
        }
        Self { spans, weights }
    }

    fn iter(&self) -> impl Iterator<Item = (Range<usize>, &[i32])> {
        let mut rest = &self.weights[..];
        self.spans.iter().map(move |span| {
            let (weights, others) = rest.split_at(span.len());
            rest = others;
            (span.clone(), weights)
        })
    }

    /// The old places with any weight.
    fn seen(&self) -> Range<usize> {
        self.spans[0].start..self.spans[self.spans.len() - 1].end
    }

    /// Resizes vertically; `rows` has the old rows from `first` on.
    fn of_rows(&self, rows: &[&[u8]], first: usize) -> Vec<u8> {
        let width = rows[0].len();
        let mut out = vec![0; self.spans.len() * width];
        for ((span, weights), out) in self.iter().zip(out.chunks_exact_mut(width)) {
            add_rows(&rows[span.start - first..span.end - first], weights, out);
        }
        out
    }

    /// Resizes horizontally.
    fn of_columns(&self, rows: &[&[u8]]) -> Vec<u8> {
        let width = self.spans.len() * 3;
        let mut out = vec![0; rows.len() * width];
        for (row, out) in rows.iter().zip(out.chunks_exact_mut(width)) {
            let (pixels, _) = row.as_chunks::<3>();
            for ((span, weights), out) in self.iter().zip(out.as_chunks_mut::<3>().0) {
                let mut sums = [HALF; 3];
                for (pixel, weight) in pixels[span].iter().zip(weights) {
                    for (sum, &value) in sums.iter_mut().zip(pixel) {
                        *sum += i32::from(value) * weight;
                    }
                }
                *out = sums.map(rounded);
            }
        }
        out
    }
}

#[pulp::with_simd(add_rows = Arch::new())]
fn add_rows_simd<'a, S: Simd>(_: S, rows: &'a [&'a [u8]], weights: &'a [i32], out: &'a mut [u8]) {
    const AT_ONCE: usize = 64;
    for (at, out) in out.chunks_mut(AT_ONCE).enumerate() {
        let mut sums = [HALF; AT_ONCE];
        for (row, &weight) in rows.iter().zip(weights) {
            for (sum, &value) in sums.iter_mut().zip(&row[at * AT_ONCE..]) {
                *sum += i32::from(value) * weight;
            }
        }
        for (out, sum) in out.iter_mut().zip(sums) {
            *out = rounded(sum);
        }
    }
}

fn rounded(sum: i32) -> u8 {
    (sum >> BITS).clamp(0, 255) as u8
}

/// The nearest old places for `start..start + size` of `to`. If two are equally near, the choice follows Pillow, which
/// adds up its steps.
fn places(from: usize, to: usize, start: usize, size: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let all = std::iter::successors(Some(step * 0.5), |at| Some(at + step));
    all.skip(start).take(size).map(|at| (at as usize).min(from - 1)).collect()
}

fn nearest(rows: &[&[u8]], [down, across]: [Vec<usize>; 2]) -> Vec<u8> {
    let row = |row: usize| across.iter().flat_map(move |column| &rows[row][column * 3..column * 3 + 3]);
    down.into_iter().flat_map(row).copied().collect()
}
