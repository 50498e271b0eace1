//! One vector of an answer: numbers, or what stands in their place.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use std::fmt;
use std::time::Duration;

use crate::packed;
use crate::said::{Refusal, WAITS, refusal_in};

/// A vector, or the fault in it.
pub(crate) type Judged = Result<Vec<f32>, Fault>;

/// The reason why something is no vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Fault {
    /// What it is, to be read after "the vector".
    pub(crate) reason: String,
    pub(crate) kind: Kind,
}

/// The kind of a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// In the values, which another answer may not have.
    Values,
    /// Another form than that of a vector: then another answer will have it too.
    Form,
    /// The same, and of what is in base64.
    Packed,
    /// The answer leaves this vector out.
    Missing,
    /// The server's own words instead of a vector: they may be those of something that passes, after this time.
    Stated { passes: bool, after: Option<Duration> },
}

impl Fault {
    fn form(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), kind: Kind::Form }
    }

    /// No vector at its place, beside which the answer has these words.
    pub(crate) fn missing(said: Option<&str>) -> Self {
        let said = said.map(|words| format!("; the server says: {words}")).unwrap_or_default();
        Self { reason: format!("is missing{said}"), kind: Kind::Missing }
    }

    /// The error that the server puts in its place.
    pub(crate) fn stated(Refusal { words, status, passes, after }: Refusal) -> Self {
        let passes = passes || after.is_some() || status.is_some_and(|status| status == 429 || status >= 500);
        Self { reason: words, kind: Kind::Stated { passes, after } }
    }

    /// True if the server says why.
    pub(crate) fn is_stated(&self) -> bool {
        matches!(self.kind, Kind::Stated { .. })
    }

    /// True if any answer of this server would have it.
    pub(crate) fn is_of_form(&self) -> bool {
        matches!(self.kind, Kind::Form | Kind::Packed)
    }
}

impl From<String> for Fault {
    /// A fault in the values.
    fn from(reason: String) -> Self {
        Self { reason, kind: Kind::Values }
    }
}

/// A vector in JSON: numbers, or little-endian f32 in base64. Anything else invalidates only this vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vector {
    judged: Judged,
    is_packed: bool,
}

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Whole)
    }
}

/// True for the keys of an object that is an error in place of a vector.
pub(crate) fn is_of_error(key: &str) -> bool {
    const WORDS: [&str; 9] = ["error", "errors", "message", "detail", "details", "error_msg", "code", "status", "type"];
    WORDS.contains(&key) || WAITS.contains(&key)
}

/// Reads anything as a vector or a fault.
pub(crate) struct Whole;

impl From<Judged> for Vector {
    fn from(judged: Judged) -> Self {
        Self { judged, is_packed: false }
    }
}

impl<'de> Visitor<'de> for Whole {
    type Value = Vector;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a vector")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Vector, A::Error> {
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
            Some((at, element)) if !matches!(element, Element::Null) => Ok(Err(element.fault(at, values.len())).into()),
            _ => Ok(Ok(values).into()),
        }
    }

    fn visit_str<E>(self, text: &str) -> Result<Vector, E> {
        let judged = packed::values(text).map_err(|reason| Fault { reason, kind: Kind::Packed });
        Ok(Vector { judged, is_packed: true })
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Vector, A::Error> {
        let (mut keys, mut said) = (Vec::new(), serde_json::Map::new());
        while let Some(key) = entries.next_key::<String>()? {
            keys.push(format!("`{}`", key.chars().take(30).collect::<String>()));
            match is_of_error(&key) {
                true => drop(said.insert(key, entries.next_value()?)),
                false => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        if let Some(refusal) = refusal_in(&Value::Object(said)) {
            return Ok(Vector::fault(Fault::stated(refusal)));
        }
        keys.truncate(4);
        let (keys, instead) = (keys.join(", "), "`provider = \"http\"` can lead to the numbers in it");
        Ok(Vector::fault(Fault::form(format!("is an object ({keys}), not a list of numbers; {instead}"))))
    }

    fn visit_unit<E>(self) -> Result<Vector, E> {
        Ok(Vector::fault("is null".to_owned().into()))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Vector, E> {
        Ok(Vector::fault(Fault::form(format!("is `{value}`, not a list of numbers"))))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Vector, E> {
        let why = "the vectors lie one level higher in the answer, or it has only one";
        Ok(Vector::fault(Fault::form(format!("is the number {value}, not a list of numbers: {why}"))))
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Vector, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Vector, E> {
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
    /// What stands for one that an answer does not have.
    pub(crate) fn fault(fault: Fault) -> Self {
        Err(fault).into()
    }

    /// The values of one in base64, if it could be read.
    pub(crate) fn packed(&self) -> Option<&[f32]> {
        self.numbers().filter(|_| self.is_packed)
    }

    /// Its values, some of which may be NaN.
    pub(crate) fn numbers(&self) -> Option<&[f32]> {
        self.judged.as_deref().ok()
    }

    /// True if it was read as one that has values.
    pub(crate) fn is_read(&self) -> bool {
        self.judged.as_ref().is_ok_and(|values| !values.is_empty())
    }

    /// True if it is left out.
    pub(crate) fn is_missing(&self) -> bool {
        self.judged.as_ref().is_err_and(|fault| fault.kind == Kind::Missing)
    }

    /// Its values, if they are finite and not all zero.
    pub(crate) fn judge(self) -> Judged {
        let values = self.judged?;
        let fault = |reason: String| Err(Fault::from(reason));
        match values.iter().position(|value| !value.is_finite()) {
            _ if values.is_empty() => fault("is empty".to_owned()),
            Some(at) => fault(format!("has no finite value at position {at}")),
            None if values.iter().all(|&value| value == 0.0) => fault("is all zeros".to_owned()),
            None => Ok(values),
        }
    }
}
