//! One vector of an answer: numbers, or what stands in their place.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A vector, or the fault in it.
pub(crate) type Judged = Result<Vec<f32>, Fault>;

/// The reason why something is no vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// What it is, to be read after "the vector".
    pub(crate) reason: String,
    /// True if it has another form than a vector: then another answer will have it too.
    pub(crate) of_form: bool,
}

impl Fault {
    fn form(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), of_form: true }
    }
}

impl From<String> for Fault {
    /// A fault in the values, which another answer may not have.
    fn from(reason: String) -> Self {
        Self { reason, of_form: false }
    }
}

/// A vector in JSON: numbers, or little-endian f32 in base64. Anything else invalidates only this vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vector(Judged);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole).map(Vector)
    }
}

/// Reads anything as a vector or a fault.
struct Whole;

impl<'de> Visitor<'de> for Whole {
    type Value = Judged;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Judged, A::Error> {
        let (mut values, mut odd) = (Vec::new(), None);
        while let Some(element) = elements.next_element()? {
            match element {
                Element::Number(value) => values.push(value),
                element => {
                    odd.get_or_insert((values.len(), element));
                    values.push(f32::NAN);
                }
            }
        }
        match odd {
            Some((at, element)) if !matches!(element, Element::Null) => Ok(Err(element.fault(at, values.len()))),
            _ => Ok(Ok(values)),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Judged, E> {
        Ok(match STANDARD.decode(text) {
            Ok(bytes) => match bytes.as_chunks::<4>() {
                (values, []) => Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
                _ => Err(format!("has {} bytes, not a whole number of f32 values", bytes.len()).into()),
            },
            Err(error) => Err(format!("is not base64: {error}; it is the text {}", quoted(text)).into()),
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Judged, A::Error> {
        let mut keys = Vec::new();
        while let Some((key, IgnoredAny)) = entries.next_entry::<String, _>()? {
            keys.push(format!("`{}`", key.chars().take(30).collect::<String>()));
        }
        keys.truncate(4);
        let (keys, instead) = (keys.join(", "), "`provider = \"http\"` can lead to the numbers in it");
        Ok(Err(Fault::form(format!("is an object ({keys}), not a list of numbers; {instead}"))))
    }

    fn visit_unit<E>(self) -> Result<Judged, E> {
        Ok(Err("is null".to_owned().into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Judged, E> {
        Ok(Err(Fault::form(format!("is `{value}`, not a list of numbers"))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Judged, E> {
        let why = "the vectors lie one level higher in the answer, or it has only one";
        Ok(Err(Fault::form(format!("is the number {value}, not a list of numbers: {why}"))))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Judged, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Judged, E> {
        self.visit_f64(value as f64)
    }
}

/// What stands in a vector.
enum Element {
    Number(f32),
    /// What some servers send for a number that JSON does not have.
    Null,
    Bool,
    Text(String),
    /// A list, such as a vector for one token.
    List,
    Object,
}

impl Element {
    /// The fault of a vector of so many values that has this in it.
    fn fault(self, at: usize, values: usize) -> Fault {
        match self {
            Self::List if values > 1 => Fault::form(format!(
                "is a list of {values} vectors, one for each token: pooling is off at the server; turn it on there \
                 (llama.cpp: `--pooling mean`), or choose a model that pools"
            )),
            Self::List => Fault::form(
                "is a list of vectors with one in it: either pooling is off at the server, which then sends one for \
                 each token, or the answer is nested once more than it should be",
            ),
            Self::Text(text) if text.trim().parse::<f64>().is_ok() => Fault::form(format!(
                "has numbers that are written as text, such as {}; the server must send them as numbers",
                quoted(&text)
            )),
            Self::Text(text) => Fault::form(format!("has the text {} at position {at}, not a number", quoted(&text))),
            Self::Object => Fault::form(format!("has an object at position {at}, not a number")),
            Self::Bool => Fault::form(format!("has true or false at position {at}, not a number")),
            Self::Null | Self::Number(_) => format!("has no finite value at position {at}").into(),
        }
    }
}

/// The beginning of a text, in quotes.
fn quoted(text: &str) -> String {
    format!("{:?}", text.chars().take(20).collect::<String>())
}

impl<'de> Deserialize<'de> for Element {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Element;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }

    fn visit_f64<E>(self, value: f64) -> Result<Element, E> {
        Ok(Element::Number(value as f32))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Element, E> {
        Ok(Element::Number(value as f32))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Element, E> {
        Ok(Element::Number(value as f32))
    }

    fn visit_unit<E>(self) -> Result<Element, E> {
        Ok(Element::Null)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Element, E> {
        Ok(Element::Bool)
    }

    fn visit_str<E>(self, text: &str) -> Result<Element, E> {
        Ok(Element::Text(text.chars().take(40).collect()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Element, A::Error> {
        while values.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Element::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Element, A::Error> {
        while values.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Element::Object)
    }
}

impl Vector {
    /// Its values, if they are finite and not all zero.
    pub(crate) fn judge(self) -> Judged {
        let values = self.0?;
        let fault = |reason: String| Err(Fault::from(reason));
        match values.iter().position(|value| !value.is_finite()) {
            _ if values.is_empty() => fault("is empty".to_owned()),
            Some(at) => fault(format!("has no finite value at position {at}")),
            None if values.iter().all(|&value| value == 0.0) => fault("is all zeros".to_owned()),
            None => Ok(values),
        }
    }
}
