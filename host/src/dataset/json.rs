//! JSON as rows: the elements of its lists one after the other, and the values of an object as cells.

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};
use std::fmt::{self, Formatter};

use super::draft::Draft;

/// The deepest object whose values have columns of their own.
const DEEPEST: usize = 8;

/// Gives this row the values of an object: each under its name, those of objects within as `outer.inner`.
pub(super) fn set_all(draft: &mut Draft<'_>, object: &Map<String, Value>) {
    object.iter().for_each(|(name, value)| set(draft, name, value, 0));
}

fn set(draft: &mut Draft<'_>, name: &str, value: &Value, depth: usize) {
    match value {
        Value::Null => {}
        Value::Array(list) if list.is_empty() => {}
        Value::Object(object) if depth < DEEPEST => {
            object.iter().for_each(|(inner, value)| set(draft, &format!("{name}.{inner}"), value, depth + 1));
        }
        _ if !draft.column(name) => {}
        Value::String(text) => draft.set(name, text),
        Value::Array(list) if list.iter().all(Value::is_string) => draft.set_list(name, &value.to_string()),
        other => draft.set(name, other.to_string()),
    }
}

/// A value as an id, or another short text: a text as it is, a number as it is written; none for others.
pub(super) fn plain(value: Option<&Value>) -> Option<String> {
    match value? {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// The text of a value that must be one that is not empty.
pub(super) fn text<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object.get(key)?.as_str().filter(|text| !text.is_empty())
}

/// Calls `each` with the elements of a document that is a list, or of the lists in a document that is an object, with
/// the key of each. Nothing but one element is in memory at a time.
pub(super) fn elements(json: &[u8], each: &mut dyn FnMut(&str, Value)) -> Result<(), serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(json);
    Document(each).deserialize(&mut reader)?;
    reader.end()
}

/// The document.
struct Document<'f>(&'f mut dyn FnMut(&str, Value));

/// A value of the document, which may be a list.
struct Elements<'f, 'k>(&'f mut dyn FnMut(&str, Value), &'k str);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<(), A::Error> {
        Elements(self.0, "").visit_seq(list)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while let Some(key) = object.next_key::<String>()? {
            object.next_value_seed(Elements(self.0, &key))?;
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Elements<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Elements<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(element) = list.next_element()? {
            (self.0)(self.1, element);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
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

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}
