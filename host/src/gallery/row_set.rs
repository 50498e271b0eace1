//! A set of rows, one bit each.

use rayon::prelude::*;
use std::ops::Range;

/// A set of the rows below a number.
#[derive(Clone, Debug)]
pub(super) struct RowSet {
    words: Vec<u64>,
    rows: usize,
}

impl RowSet {
    /// All rows below `rows`.
    pub(super) fn all(rows: usize) -> Self {
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if let Some(last) = words.last_mut().filter(|_| !rows.is_multiple_of(64)) {
            *last = (1 << (rows % 64)) - 1;
        }
        Self { words, rows }
    }

    /// The rows of this set for which `wanted` holds, tested in parallel; the error of the first row that has one.
    pub(super) fn filtered<E: Send>(&self, wanted: impl Fn(usize) -> Result<bool, E> + Sync) -> Result<Self, E> {
        let word = |(index, &word): (usize, &u64)| {
            let (mut left, mut kept) = (word, 0);
            while left != 0 {
                let bit = left.trailing_zeros();
                kept |= u64::from(wanted(index * 64 + bit as usize)?) << bit;
                left &= left - 1;
            }
            Ok(kept)
        };
        // Collected one by one: a short cut would take the error that some thread meets first.
        let words: Vec<Result<u64, E>> = self.words.par_iter().enumerate().map(word).collect();
        Ok(Self { words: words.into_iter().collect::<Result<_, _>>()?, rows: self.rows })
    }

    /// Those of its rows that are not below `first`.
    pub(super) fn from(&self, first: usize) -> Self {
        let mut set = self.clone();
        let (whole, rest) = (first / 64, first % 64);
        set.words.iter_mut().take(whole).for_each(|word| *word = 0);
        if let Some(word) = set.words.get_mut(whole) {
            *word &= u64::MAX << rest;
        }
        set
    }

    /// The set as bits, 64 rows a word.
    pub(super) fn words(&self) -> &[u64] {
        &self.words
    }

    /// Removes a row.
    pub(super) fn remove(&mut self, row: usize) {
        self.words[row / 64] &= !(1 << (row % 64));
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        self.words[row / 64] >> (row % 64) & 1 == 1
    }

    /// True if any row of a range is in it.
    pub(super) fn has_any(&self, mut rows: Range<usize>) -> bool {
        while !rows.is_empty() {
            let (word, first) = (rows.start / 64, rows.start % 64);
            let count = (64 - first).min(rows.len());
            let mask = (u64::MAX >> (64 - count)) << first;
            if self.words[word] & mask != 0 {
                return true;
            }
            rows.start += count;
        }
        false
    }

    pub(super) fn len(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// The rows in ascending order.
    pub(super) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.rows).filter(|&row| self.contains(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_taken_out_and_filtered() {
        for rows in [0, 1, 63, 64, 65, 130] {
            let mut set = RowSet::all(rows);
            assert!(set.len() == rows && set.iter().eq(0..rows));
            (0..rows).step_by(3).for_each(|row| set.remove(row));
            let kept = set.filtered(|row| Ok::<_, ()>(row % 2 == 0)).unwrap();
            assert!(kept.iter().eq((0..rows).filter(|row| row % 3 != 0 && row % 2 == 0)));
            assert_eq!(kept.len(), kept.iter().count());
            assert!(!kept.has_any(0..rows.min(2)));
            for first in [0, 1, 63, 64, 65, 129, 130] {
                let first = rows.min(first);
                assert!(kept.from(first).iter().eq(kept.iter().filter(|row| *row >= first)), "{rows} from {first}");
                assert_eq!(kept.has_any(first..rows), kept.iter().any(|row| row >= first), "{rows} from {first}");
            }
            assert_eq!(kept.has_any(0..rows), rows > 2);
        }
        assert_eq!(RowSet::all(200).filtered(|row| if row < 70 { Ok(true) } else { Err(row) }).unwrap_err(), 70);
    }
}
