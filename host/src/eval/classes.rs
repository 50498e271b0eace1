//! Classification into classes that no item was labelled with: by the nearest class of each item.

use serde::Serialize;
use std::collections::BTreeMap;

use super::Interval;

/// The classes that an item is nearest to, nearest first, and their scores.
pub type Nearest = Vec<(usize, f32)>;

/// The classes of recall that are looked at.
pub const TOP: [usize; 2] = [1, 5];

/// How well items were classified.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Accuracy {
    /// Items of a known class.
    pub items: usize,
    /// Classes.
    pub classes: usize,
    /// The share of items whose class is among the first k, in percent, by k.
    pub top: BTreeMap<usize, f64>,
    /// The same of a random order.
    pub chance: BTreeMap<usize, f64>,
    /// The mean over classes with items of their items' top-1, in percent.
    pub mean_per_class: f64,
    /// Wilson's interval (1927) of top-1 at 95 %.
    pub interval: Interval,
    /// Items by their class and the class that was found: those that there are.
    #[serde(skip)]
    pub confusion: BTreeMap<(usize, usize), usize>,
}

impl Accuracy {
    /// That of items with their nearest classes and the true one, out of `classes`.
    pub fn of<'a>(items: impl IntoIterator<Item = (&'a Nearest, usize)>, classes: usize) -> Self {
        let mut confusion: BTreeMap<(usize, usize), usize> = BTreeMap::new();
        let (mut count, mut found) = (0, TOP.map(|_| 0_usize));
        for (nearest, truth) in items {
            count += 1;
            let rank = nearest.iter().position(|(class, _)| *class == truth);
            for (found, k) in found.iter_mut().zip(TOP) {
                *found += usize::from(rank.is_some_and(|rank| rank < k));
            }
            if let Some((class, _)) = nearest.first() {
                *confusion.entry((truth, *class)).or_default() += 1;
            }
        }
        let percent = |part: usize| 100.0 * part as f64 / count.max(1) as f64;
        let mut per_class: BTreeMap<usize, [usize; 2]> = BTreeMap::new();
        for (&(truth, class), &items) in &confusion {
            let [right, all] = per_class.entry(truth).or_default();
            *right += if truth == class { items } else { 0 };
            *all += items;
        }
        let share = |[right, all]: &[usize; 2]| 100.0 * *right as f64 / *all as f64;
        let mean_per_class = per_class.values().map(share).sum::<f64>() / per_class.len().max(1) as f64;
        // With no more than k classes, the first k are all of them.
        let shown = || TOP.into_iter().zip(found).filter(|(k, _)| *k == 1 || *k < classes);
        Self {
            items: count,
            classes,
            top: shown().map(|(k, found)| (k, percent(found))).collect(),
            chance: shown().map(|(k, _)| (k, 100.0 * k.min(classes) as f64 / classes.max(1) as f64)).collect(),
            mean_per_class,
            interval: Interval::of_share(found[0], count),
            confusion,
        }
    }

    /// The pairs of classes that are mistaken for one another most often: the true one, the found one, and items.
    pub fn mistakes(&self, most: usize) -> Vec<(usize, usize, usize)> {
        let wrong = self.confusion.iter().filter(|((truth, class), _)| truth != class);
        let mut wrong: Vec<_> = wrong.map(|(&(truth, class), &items)| (truth, class, items)).collect();
        wrong.sort_by_key(|&(truth, class, items)| (std::cmp::Reverse(items), truth, class));
        wrong.truncate(most);
        wrong
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accuracy_counts_items_classes_and_what_is_mistaken() {
        let nearest = |order: [usize; 6]| order.map(|class| (class, 0.0)).to_vec();
        let first = nearest([0, 1, 2, 3, 4, 5]);
        let last = nearest([5, 4, 3, 2, 1, 0]);
        let items = [(&first, 0), (&first, 0), (&first, 4), (&last, 0), (&last, 1)];
        let accuracy = Accuracy::of(items, 6);
        assert_eq!((accuracy.items, accuracy.classes), (5, 6));
        // Right are the first two; that of class 4 is fifth, that of class 0 sixth, that of class 1 fifth.
        assert_eq!(accuracy.top, BTreeMap::from([(1, 40.0), (5, 80.0)]));
        assert!((accuracy.chance[&5] - 500.0 / 6.0).abs() < 1e-9);
        // Class 0: 2 of 3; class 1: none of 1; class 4: none of 1.
        assert!((accuracy.mean_per_class - 200.0 / 9.0).abs() < 1e-9);
        assert_eq!(accuracy.mistakes(2), [(0, 5, 1), (1, 5, 1)]);
        // Wilson's interval of 2 of 5.
        assert!((accuracy.interval.low - 11.76).abs() < 0.01 && (accuracy.interval.high - 76.93).abs() < 0.01);
        let two = Accuracy::of([(&vec![(0, 0.0), (1, 0.0)], 1)], 2);
        assert_eq!(two.top, BTreeMap::from([(1, 0.0)]), "the first five of two classes say nothing");
    }
}
