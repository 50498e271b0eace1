//! The number of values in a JSON text, found without keeping any of them.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// True if a JSON text has more than so many values, all that are within others counted too; an error if there is a
/// mistake before.
pub(super) fn are_more(json: &[u8], most: usize) -> serde_json::Result<bool> {
    // No value is shorter than a byte with what parts it from the next.
    if json.len() / 2 < most {
        return Ok(false);
    }
    let mut left = Some(most);
    match (Counted { left: &mut left }).deserialize(&mut serde_json::Deserializer::from_slice(json)) {
        _ if left.is_none() => Ok(true),
        counted => counted.map(|()| false),
    }
}

/// A value that is counted.
struct Counted<'a> {
    /// Values that may follow; none if there were too many.
    left: &'a mut Option<usize>,
}

impl Counted<'_> {
    fn count<E: Error>(&mut self) -> Result<(), E> {
        *self.left = self.left.and_then(|left| left.checked_sub(1));
        self.left.map(drop).ok_or_else(|| E::custom("too many values"))
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(mut self, json: D) -> Result<(), D::Error> {
        self.count()?;
        json.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Counted { left: &mut *self.left })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(Counted { left: &mut *self.left })?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_wherever_they_are() {
        for (json, count) in
            [("[0,0,0,0]", 5), (r#"{"a":[[1,2.5],-3],"b":{"c":null,"d":true},"e":"f\n"}"#, 10), ("[[[[]]]]", 4)]
        {
            assert!(are_more(json.as_bytes(), count - 1).unwrap(), "{json}");
            assert!(!are_more(json.as_bytes(), count).unwrap(), "{json}");
        }
    }

    /// A reader that passes over a value does not see them, and goes on.
    #[test]
    fn a_mistake_ends_no_count_unseen() {
        let deep = format!("{}{}", "[".repeat(130), "]".repeat(130));
        for mistake in ["1e999", r#""\ud800""#, "?", &deep] {
            let json = format!(r#"{{"user":{mistake},"input":[{}0]}}"#, "0,".repeat(1000));
            assert!(are_more(json.as_bytes(), 200).is_err(), "{mistake}");
        }
        assert!(are_more(b"[0,0,0,0,0,0,?", 3).unwrap());
    }
}
