//! The rows of its sequence that a row attends to.

use candle_core::{DType, Device, Result, Tensor};
use std::ops::Range;

/// A band around a row, and the effect of distance on a score. The default is all rows alike.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Rows before itself that a row sees.
    before: usize,
    /// Rows after itself that a row sees.
    after: usize,
    added: Added,
}

/// The term added to a score, in each head.
#[derive(Clone, Debug)]
enum Added {
    Nothing,
    /// So much less for each row of distance.
    Slopes(Vec<f32>),
    /// `heads x 2 reach + 1`: by distance, from `reach` rows before to `reach` rows after; what is farther counts as
    /// that far.
    Values {
        reach: usize,
        values: Vec<f32>,
    },
}

impl Default for Seen {
    fn default() -> Self {
        Self { before: usize::MAX, after: usize::MAX, added: Added::Nothing }
    }
}

impl Seen {
    /// Itself and the rows before it.
    pub fn causal() -> Self {
        Self { after: 0, ..Self::default() }
    }

    /// The rows up to `distance` away.
    pub fn within(distance: usize) -> Self {
        Self { before: distance, after: distance, ..Self::default() }
    }

    /// All rows, the less the farther away they are, by slopes that differ from head to head: ALiBi, in both
    /// directions.
    pub fn fading(heads: usize) -> Self {
        // Of a power of two n: 2^(-8/n), 2^(-16/n) ..; of any other number every second one of the next power follows.
        let slopes = |n: usize| (1..=n).map(move |head| (-8.0 * head as f32 / n as f32).exp2());
        let whole = 1 << heads.max(1).ilog2();
        let slopes = slopes(whole).chain(slopes(2 * whole).step_by(2)).take(heads).collect();
        Self { added: Added::Slopes(slopes), ..Self::default() }
    }

    /// All rows, by distance: `values` (`heads x 2 reach + 1`) are added to the scores of rows from `reach` before to
    /// `reach` after; farther ones count as that far.
    pub fn by_distance(reach: usize, values: Vec<f32>) -> Self {
        assert!(values.len().is_multiple_of(2 * reach + 1), "values of so many distances for each head");
        Self { added: Added::Values { reach, values }, ..Self::default() }
    }

    /// True if each row sees all rows.
    pub(super) fn is_all(&self) -> bool {
        self.before == usize::MAX && self.after == usize::MAX
    }

    /// The rows that any of `rows` sees in a sequence of `length`.
    pub(super) fn range(&self, rows: Range<usize>, length: usize) -> Range<usize> {
        rows.start.saturating_sub(self.before)..length.min(rows.end.saturating_add(self.after))
    }

    /// Applies to `scores`, those of `rows` with `columns`, the rows that a row does not see (-inf) and the terms of
    /// distance.
    pub(super) fn apply(&self, scores: &mut [f32], head: usize, rows: Range<usize>, columns: Range<usize>) {
        for (row, scores) in rows.zip(scores.chunks_exact_mut(columns.len())) {
            let scored = columns.clone().zip(scores.iter_mut());
            match &self.added {
                Added::Nothing => {}
                Added::Slopes(slopes) => {
                    scored.for_each(|(column, score)| *score -= slopes[head] * row.abs_diff(column) as f32);
                }
                Added::Values { reach, values } => {
                    let values = &values[head * (2 * reach + 1)..];
                    scored.for_each(|(column, score)| {
                        *score += values[(column + reach).saturating_sub(row).min(2 * reach)]
                    });
                }
            }
            let seen = self.range(row..row + 1, columns.end);
            scores[..seen.start.saturating_sub(columns.start)].fill(f32::NEG_INFINITY);
            scores[seen.end - columns.start..].fill(f32::NEG_INFINITY);
        }
    }

    /// The same for `rows` of sequences of `length`, to be added: `1 or heads x rows x length`; `None` for nothing.
    pub(super) fn bias(&self, rows: Range<usize>, length: usize, device: &Device) -> Result<Option<Tensor>> {
        let whole = self.before >= length && self.after >= length;
        if whole && matches!(self.added, Added::Nothing) {
            return Ok(None);
        }
        let at = |rows: Range<usize>| Tensor::arange(rows.start as f32, rows.end as f32, device);
        let ahead = at(0..length)?.unsqueeze(0)?.broadcast_sub(&at(rows)?.unsqueeze(1)?)?.unsqueeze(0)?;
        let mut bias = match &self.added {
            Added::Nothing => ahead.zeros_like()?,
            Added::Slopes(slopes) => {
                let slopes = Tensor::new(&slopes[..], device)?.reshape(((), 1, 1))?;
                slopes.neg()?.broadcast_mul(&ahead.abs()?)?
            }
            Added::Values { reach, values } => {
                let (_, rows, length) = ahead.dims3()?;
                let at = (ahead.clamp(-(*reach as f64), *reach as f64)? + *reach as f64)?.to_dtype(DType::U32)?;
                let values = Tensor::new(&values[..], device)?.reshape(((), 2 * reach + 1))?;
                values.index_select(&at.flatten_all()?, 1)?.reshape(((), rows, length))?
            }
        };
        if !whole {
            let (before, after) = (self.before.min(length) as f64, self.after.min(length) as f64);
            let outside = (ahead.gt(after)? + ahead.lt(-before)?)?.broadcast_as(bias.shape())?;
            let never = Tensor::full(f32::NEG_INFINITY, bias.shape(), device)?;
            bias = outside.where_cond(&never, &bias)?;
        }
        Ok(Some(bias))
    }
}

#[cfg(test)]
mod tests {
    use super::{Added, Seen};

    #[test]
    fn slopes_are_alibis() {
        let slopes = |heads| match Seen::fading(heads).added {
            Added::Slopes(slopes) => slopes,
            other => panic!("{other:?}"),
        };
        assert_eq!(slopes(4), [0.25, 0.0625, 0.015625, 0.00390625]);
        // The published twelve: those of eight, then the first, third .. of sixteen.
        let [eight, sixteen, twelve] = [8, 16, 12].map(slopes);
        assert_eq!(twelve[..8], eight);
        assert_eq!(twelve[8..], [sixteen[0], sixteen[2], sixteen[4], sixteen[6]]);
    }
}
