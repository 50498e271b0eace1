//! A condition on a cell of metadata.

use std::cmp::Ordering;

use super::cell::Cell;
use super::number::Number;

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
    Number {
        written: String,
        number: Number,
    },
    Text(String),
    /// What `~` looks for, in lower case.
    Part(String),
}

impl Condition {
    /// True of a cell that it keeps; a name equals only what is written the same.
    pub(super) fn holds(&self, cell: &Cell<'_>) -> bool {
        let Some(text) = cell.text() else {
            return match self.operator {
                Operator::Equal => self.value == Operand::Null,
                Operator::Unequal => self.value != Operand::Null,
                _ => false,
            };
        };
        let order = match (&self.value, self.operator) {
            (Operand::Part(part), _) => return cell.lower_case().contains(part),
            (Operand::Number { written, .. } | Operand::Text(written), Operator::Equal | Operator::Unequal)
                if cell.is_name =>
            {
                return (text == written) == (self.operator == Operator::Equal);
            }
            (Operand::Null, _) => None,
            (Operand::Number { number, .. }, _) => cell.number().map(|cell| cell.compare(*number)),
            // A number and a text have no order.
            (Operand::Text(written), _) if cell.number().is_some() && Number::of(written).is_none() => None,
            (Operand::Text(written), _) => Some(text.cmp(written)),
        };
        self.operator.holds(order)
    }
}

impl Operator {
    /// True if a cell may have this order to the value; none is that of unequal things.
    fn holds(self, order: Option<Ordering>) -> bool {
        match (self, order) {
            (Self::Unequal, None) => true,
            (_, None) | (Self::Contains, _) => false,
            (Self::Equal, Some(order)) => order.is_eq(),
            (Self::Unequal, Some(order)) => order.is_ne(),
            (Self::Less, Some(order)) => order.is_lt(),
            (Self::AtMost, Some(order)) => order.is_le(),
            (Self::Greater, Some(order)) => order.is_gt(),
            (Self::AtLeast, Some(order)) => order.is_ge(),
        }
    }
}
