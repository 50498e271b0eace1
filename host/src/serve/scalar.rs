//! A value of an item's metadata.

use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::Value;
use std::fmt;

/// A text, a number, a truth value or null; lists and objects are refused while they are parsed, whatever is in them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scalar(pub(super) Value);

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: Deserializer<'de>>(json: D) -> Result<Self, D::Error> {
        json.deserialize_any(Only).map(Self)
    }
}

/// The visitor of a scalar.
struct Only;

impl Visitor<'_> for Only {
    type Value = Value;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("text, a number, true, false or null")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_within_others_is_refused_before_it_is_parsed() {
        for value in [json!(null), json!(true), json!(-1), json!(u64::MAX), json!(0.5), json!("a \"b\"\n")] {
            assert_eq!(serde_json::from_str::<Scalar>(&value.to_string()).unwrap(), Scalar(value));
        }
        // The rest is no JSON, and is not looked at.
        for json in ["[{\"a\":0},?", "{\"a\":?"] {
            let error = serde_json::from_str::<Scalar>(json).unwrap_err().to_string();
            assert!(error.contains("expected text, a number, true, false or null"), "{error}");
        }
    }
}
