//! The columns of a file that are wanted; of the others only the names are kept.

use std::collections::BTreeSet;

use super::usual;

/// The columns that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted {
    /// Those that are asked for by their names.
    named: BTreeSet<String>,
    /// True if the others are wanted too.
    all: bool,
}

impl Wanted {
    /// All columns.
    pub(super) const ALL: Self = Self { named: BTreeSet::new(), all: true };

    /// These columns, and those that tell what a row is.
    pub(super) fn only(names: impl IntoIterator<Item = String>) -> Self {
        Self { named: names.into_iter().collect(), all: false }
    }

    /// All columns, and of those that are too many these.
    pub(super) fn all_and(names: impl IntoIterator<Item = String>) -> Self {
        Self { named: names.into_iter().collect(), all: true }
    }

    /// True if the cells of a column are kept.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.all || self.named.contains(name) || usual::ROWS.contains(&name)
    }

    /// True if a column is asked for by its name, or likely to be.
    pub(super) fn names(&self, name: &str) -> bool {
        self.named.contains(name) || usual::ROWS.contains(&name) || self.all && usual::is_usual(name)
    }

    /// True if a table of these columns, which `has` some of them, is one of those that `other` wants too.
    pub(super) fn covers(&self, other: &Self, has: impl Fn(&str) -> bool) -> bool {
        match self.all {
            true => other.named.iter().all(|name| self.named.contains(name) || has(name)),
            false => !other.all && self.named.is_superset(&other.named),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_covers_less_and_rows_are_always_told() {
        let only = |names: &[&str]| Wanted::only(names.iter().map(|name| (*name).to_owned()));
        let (one, two) = (only(&["a"]), only(&["a", "b"]));
        let covers = |one: &Wanted, other: &Wanted| one.covers(other, |name| name == "a");
        assert!(covers(&two, &one) && !covers(&one, &two) && !covers(&two, &Wanted::ALL));
        // Of all columns, some may have been too many.
        assert!(covers(&Wanted::ALL, &one) && !covers(&Wanted::ALL, &two));
        assert!(covers(&Wanted::all_and(["b".to_owned()]), &two) && covers(&Wanted::ALL, &Wanted::ALL));
        assert!(one.takes("a") && one.takes("key") && !one.takes("b") && Wanted::ALL.takes("b"));
    }
}
