//! The types of metadata columns, for forms whose columns have one.

use arrow_array::{ArrayRef, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow_schema::{DataType, Field};
use rayon::prelude::*;
use serde_json::Value;
use std::borrow::Cow;
use std::sync::Arc;

use super::ExportError;
use crate::gallery::{Exhibit, Gallery};

/// The type of a column: the narrowest that holds all of its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing but nulls.
    Null,
    Truth,
    /// 64 bits with a sign.
    Integer,
    Number,
    Text,
}

impl Kind {
    fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Truth,
            Value::Number(number) if number.is_i64() => Self::Integer,
            // Neither of the other two holds all of its digits.
            Value::Number(number) if number.is_u64() => Self::Text,
            Value::Number(_) => Self::Number,
            _ => Self::Text,
        }
    }

    /// The narrowest type that holds both.
    fn with(self, other: Self) -> Self {
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Null, one) | (one, Self::Null) => one,
            (Self::Integer, Self::Number) | (Self::Number, Self::Integer) => Self::Number,
            _ => Self::Text,
        }
    }
}

/// The type of each metadata column of these rows, in the gallery's order.
pub(super) fn kinds(gallery: &Gallery, rows: &[usize]) -> Result<Vec<Kind>, ExportError> {
    let none = || vec![Kind::Null; gallery.info().columns.len()];
    let widest = |one: Vec<Kind>, other: Vec<Kind>| one.into_iter().zip(other).map(|(a, b)| a.with(b)).collect();
    let with = |so_far: Vec<Kind>, &row: &usize| -> Result<_, ExportError> {
        let Exhibit { metadata, .. } = gallery.exhibit(row)?;
        Ok(widest(so_far, metadata.iter().map(Kind::of).collect()))
    };
    rows.par_iter().try_fold(none, with).try_reduce(none, |one, other| Ok(widest(one, other)))
}

/// A value as the text of a column of text; none for null.
pub(super) fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.into()),
        other => Some(other.to_string().into()),
    }
}

/// `id` and the metadata columns as fields of a schema.
pub(super) fn fields(names: &[String], kinds: &[Kind]) -> Vec<Field> {
    let column = |(name, kind): (&String, &Kind)| {
        let data = match kind {
            Kind::Truth => DataType::Boolean,
            Kind::Integer => DataType::Int64,
            Kind::Number => DataType::Float64,
            Kind::Text | Kind::Null => DataType::Utf8,
        };
        Field::new(name, data, true)
    };
    let id = Field::new("id", DataType::Utf8, false);
    [id].into_iter().chain(names.iter().zip(kinds).map(column)).collect()
}

/// The ids and the metadata of items as arrays.
pub(super) fn arrays(exhibits: &[Exhibit], kinds: &[Kind]) -> Vec<ArrayRef> {
    let ids: ArrayRef = Arc::new(StringArray::from_iter_values(exhibits.iter().map(|exhibit| &exhibit.id)));
    let column = |(at, kind): (usize, &Kind)| -> ArrayRef {
        let values = exhibits.iter().map(|exhibit| &exhibit.metadata[at]);
        match kind {
            Kind::Truth => Arc::new(BooleanArray::from_iter(values.map(Value::as_bool))),
            Kind::Integer => Arc::new(Int64Array::from_iter(values.map(Value::as_i64))),
            Kind::Number => Arc::new(Float64Array::from_iter(values.map(Value::as_f64))),
            Kind::Text | Kind::Null => Arc::new(StringArray::from_iter(values.map(text))),
        }
    };
    [ids].into_iter().chain(kinds.iter().enumerate().map(column)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_column_has_the_narrowest_type_of_its_values() {
        let kind = |values: &[Value]| values.iter().map(Kind::of).fold(Kind::Null, Kind::with);
        assert_eq!(kind(&[]), Kind::Null);
        assert_eq!(kind(&[json!(null), json!(3)]), Kind::Integer);
        assert_eq!(kind(&[json!(3), json!(0.5), json!(null)]), Kind::Number);
        assert_eq!(kind(&[json!(1), json!(u64::MAX)]), Kind::Text);
        assert_eq!(kind(&[json!(true)]), Kind::Truth);
        assert_eq!(kind(&[json!(true), json!(1)]), Kind::Text);
        assert_eq!(kind(&[json!("a"), json!(1)]), Kind::Text);
    }
}
