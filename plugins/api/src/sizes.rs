//! The number of items that a server has been seen to answer at once: unusable answers may have to be paid for, so what
//! has never worked begins again with one item.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Shared by all calls of an encoder.
#[derive(Default)]
pub(crate) struct Sizes(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// The most items of a good answer.
    good: usize,
    /// The fewest items, above these, whose answers cannot be used.
    bad: Option<usize>,
    /// The most items to send, once an answer could not be used.
    most: Option<usize>,
    /// The most items that the server takes, by its own words.
    limit: Option<usize>,
}

impl Sizes {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The most items to send at once.
    pub(crate) fn most(&self) -> usize {
        let seen = self.seen();
        [seen.most, seen.limit].into_iter().flatten().min().unwrap_or(usize::MAX)
    }

    /// Records that the server takes no more than `most` items. True if this was not known.
    pub(crate) fn limit(&self, most: usize) -> bool {
        let mut seen = self.seen();
        let is_new = seen.limit.is_none_or(|limit| most < limit);
        if is_new {
            seen.limit = Some(most);
        }
        is_new
    }

    /// True if so many have been answered.
    pub(crate) fn is_proven(&self, items: usize) -> bool {
        items <= self.seen().good
    }

    /// Records a good answer for so many items.
    pub(crate) fn works(&self, items: usize) {
        let mut seen = self.seen();
        seen.good = seen.good.max(items);
        if seen.bad.is_some_and(|bad| bad <= items) {
            seen.bad = None;
        }
        if let Some(most) = seen.most.filter(|most| *most <= items) {
            let next = most.saturating_mul(2);
            // Beyond what has failed nothing is tried again.
            seen.most = Some(if seen.bad.is_none_or(|bad| next < bad) { next } else { most });
        }
    }

    /// Records that an answer for so many items, more than one, cannot be used. True if fewer are to be sent, and false
    /// if so many have worked, so that their number is not the reason.
    pub(crate) fn fails(&self, items: usize) -> bool {
        let mut seen = self.seen();
        if items <= seen.good {
            return false;
        }
        seen.bad = Some(seen.bad.map_or(items, |bad| bad.min(items)));
        seen.most = Some(seen.good.max(1));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sizes that are sent of so many items to a server that answers `takes` at once.
    fn sent(sizes: &Sizes, mut left: usize, takes: usize) -> Vec<usize> {
        let mut sent = Vec::new();
        while left > 0 {
            let items = left.min(sizes.most());
            sent.push(items);
            if items > takes {
                assert!(sizes.fails(items));
            } else {
                sizes.works(items);
                left -= items;
            }
        }
        sent
    }

    #[test]
    fn what_does_not_work_begins_with_one_and_doubles() {
        let sizes = Sizes::default();
        assert_eq!(sent(&sizes, 64, 1), [vec![64, 1, 2], vec![1; 63]].concat());
        assert_eq!(sent(&sizes, 3, 1), [1, 1, 1], "it is remembered");
        assert_eq!(sent(&Sizes::default(), 64, 10), [64, 1, 2, 4, 8, 16, 8, 8, 8, 8, 8, 8, 1]);
        let sizes = Sizes::default();
        assert_eq!(sent(&sizes, 64, 64), [64]);
        assert!(!sizes.fails(64) && sizes.most() == usize::MAX, "so many have worked");
        assert!(sizes.limit(32) && !sizes.limit(32) && !sizes.limit(40));
        assert_eq!(sent(&sizes, 80, 64), [32, 32, 16], "what the server says holds for good");
    }
}
