//! The columns of a file that are wanted; of the others only the names are kept.

use std::collections::BTreeSet;

use super::usual;

/// The columns that are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Wanted(Option<BTreeSet<String>>);

impl Wanted {
    /// All columns.
    pub(super) const ALL: Self = Self(None);

    /// These columns, and those that tell what a row is.
    pub(super) fn only(names: impl IntoIterator<Item = String>) -> Self {
        Self(Some(names.into_iter().collect()))
    }

    /// True if the cells of a column are kept.
    pub(super) fn takes(&self, name: &str) -> bool {
        self.0.as_ref().is_none_or(|names| names.contains(name) || usual::ROWS.contains(&name))
    }

    /// True if a column is asked for by its name, or likely to be.
    pub(super) fn names(&self, name: &str) -> bool {
        match &self.0 {
            Some(names) => names.contains(name) || usual::ROWS.contains(&name),
            None => usual::is_usual(name),
        }
    }

    /// True if what `other` wants is wanted here too.
    pub(super) fn covers(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(names), Some(others)) => names.is_superset(others),
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
        assert!(Wanted::ALL.covers(&two) && two.covers(&one) && !one.covers(&two) && !two.covers(&Wanted::ALL));
        assert!(one.takes("a") && one.takes("key") && !one.takes("b") && Wanted::ALL.takes("b"));
    }
}
