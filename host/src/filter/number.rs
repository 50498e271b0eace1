//! A number of a cell or of a condition.

use std::cmp::Ordering;

/// A number, exact if it is a whole one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Number {
    pub(super) fn of(text: &str) -> Option<Self> {
        let real = || text.parse().ok().filter(|real: &f64| real.is_finite()).map(Self::Real);
        text.parse().ok().map(Self::Whole).or_else(real)
    }

    pub(super) fn compare(self, other: Self) -> Ordering {
        let real = |number| match number {
            Self::Whole(whole) => whole as f64,
            Self::Real(real) => real,
        };
        match (self, other) {
            (Self::Whole(one), Self::Whole(other)) => one.cmp(&other),
            // Both are finite; -0 equals 0.
            _ => (real(self) + 0.0).total_cmp(&(real(other) + 0.0)),
        }
    }
}
