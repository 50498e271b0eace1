//! A condition on a cell of metadata.

use std::cmp::Ordering;

/// A comparison of a column's cells with a value.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Condition {
    pub(super) column: String,
    pub(super) operator: Operator,
    pub(super) value: Operand,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Operator {
    Equal,
    Unequal,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Contains,
}

/// Longer ones first: they begin with shorter ones.
pub(super) const OPERATORS: [(&str, Operator); 8] = [
    ("!=", Operator::Unequal),
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("=", Operator::Equal),
    ("<", Operator::Less),
    (">", Operator::Greater),
    ("~", Operator::Contains),
];

/// The right-hand side of a comparison.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Operand {
    Null,
    Number { written: String, number: Number },
    Text(String),
}

/// A number, exact if it is a whole one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Whole(i128),
    Real(f64),
}

impl Condition {
    /// Of a cell's text, none for null; a name equals only what is written the same.
    pub(super) fn holds(&self, cell: Option<&str>, is_name: bool) -> bool {
        let Some(cell) = cell else {
            return match self.operator {
                Operator::Equal => self.value == Operand::Null,
                Operator::Unequal => self.value != Operand::Null,
                _ => false,
            };
        };
        let order = match &self.value {
            Operand::Number { written, .. } | Operand::Text(written) if is_name && self.operator == Operator::Equal => {
                return cell == written;
            }
            Operand::Number { written, .. } | Operand::Text(written)
                if is_name && self.operator == Operator::Unequal =>
            {
                return cell != written;
            }
            Operand::Null => return self.operator == Operator::Unequal,
            Operand::Number { written, .. } | Operand::Text(written) if self.operator == Operator::Contains => {
                return cell.to_lowercase().contains(&written.to_lowercase());
            }
            Operand::Number { number, .. } => Number::of(cell).map(|cell| cell.compare(*number)),
            Operand::Text(written) if Number::of(cell).is_some() && Number::of(written).is_none() => None,
            Operand::Text(written) => Some(cell.cmp(written.as_str())),
        };
        // A number and a text have no order.
        let Some(order) = order else { return self.operator == Operator::Unequal };
        match self.operator {
            Operator::Equal => order.is_eq(),
            Operator::Unequal => order.is_ne(),
            Operator::Less => order.is_lt(),
            Operator::AtMost => order.is_le(),
            Operator::Greater => order.is_gt(),
            Operator::AtLeast => order.is_ge(),
            Operator::Contains => unreachable!("no order is needed for it"),
        }
    }
}

impl Number {
    pub(super) fn of(text: &str) -> Option<Self> {
        let real = text.parse::<f64>().ok().filter(|real| real.is_finite());
        text.parse().ok().map(Self::Whole).or(real.map(Self::Real))
    }

    fn compare(self, other: Self) -> Ordering {
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
