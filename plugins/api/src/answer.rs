//! Checks that a vector must pass: number, order, one width, finite and not all zero.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// A vector, or the fault in it.
pub(crate) type Judged = Result<Vec<f32>, String>;

/// The vectors of a request, in the order of its inputs, and its usage by unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) vectors: Vec<Vector>,
    pub(crate) usage: BTreeMap<String, f64>,
    /// The model that the server reports.
    pub(crate) model: Option<String>,
}

/// The reason why an answer cannot be used; it may have been paid for all the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BadAnswer {
    pub(crate) reason: String,
    pub(crate) usage: BTreeMap<String, f64>,
}

impl From<String> for BadAnswer {
    fn from(reason: String) -> Self {
        Self { reason, usage: BTreeMap::new() }
    }
}

/// A vector in JSON: numbers, or little-endian f32 in base64. Anything else invalidates only this vector.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vector(Judged);

impl<'de> Deserialize<'de> for Vector {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Vector;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers, or f32 in base64")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut numbers: A) -> Result<Vector, A::Error> {
                let mut values = Vec::new();
                while let Some(Value(value)) = numbers.next_element()? {
                    values.push(value);
                }
                Ok(Vector(Ok(values)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vector, E> {
                Ok(Vector(match STANDARD.decode(text) {
                    Ok(bytes) => match bytes.as_chunks::<4>() {
                        (values, []) => Ok(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()),
                        _ => Err(format!("has {} bytes, not a whole number of f32 values", bytes.len())),
                    },
                    Err(error) => Err(format!("is not base64: {error}")),
                }))
            }

            fn visit_unit<E>(self) -> Result<Vector, E> {
                Ok(Vector(Err("is null".to_owned())))
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A number of a vector; NaN for anything else, such as the `null` that some servers send for it.
struct Value(f32);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Number;

        impl<'de> Visitor<'de> for Number {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number")
            }

            fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
                Ok(Value(value as f32))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
                Ok(Value(value as f32))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
                Ok(Value(value as f32))
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value(f32::NAN))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Value, E> {
                Ok(Value(f32::NAN))
            }

            fn visit_str<E>(self, _: &str) -> Result<Value, E> {
                Ok(Value(f32::NAN))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
                while values.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Value(f32::NAN))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut values: A) -> Result<Value, A::Error> {
                while values.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Value(f32::NAN))
            }
        }

        deserializer.deserialize_any(Number)
    }
}

/// A vector and the index that its answer gives it, if any.
#[derive(Deserialize)]
pub(crate) struct Indexed {
    index: Option<usize>,
    embedding: Vector,
}

/// The answer of OpenAI and compatible servers.
#[derive(Deserialize)]
pub(crate) struct OpenAiAnswer {
    data: Vec<Indexed>,
    #[serde(default)]
    model: Option<String>,
    #[serde(default, deserialize_with = "numbers")]
    usage: BTreeMap<String, f64>,
}

impl OpenAiAnswer {
    pub(crate) fn read(body: &[u8]) -> Result<Answer, BadAnswer> {
        let Self { data, model, usage } = json(body)?;
        let tokens = usage.get("prompt_tokens").or_else(|| usage.get("total_tokens"));
        let usage = tokens.map(|tokens| ("tokens".to_owned(), *tokens)).into_iter().collect();
        match in_order(data) {
            Ok(vectors) => Ok(Answer { vectors, usage, model }),
            Err(reason) => Err(BadAnswer { reason, usage }),
        }
    }
}

/// The numbers of an object, ignoring everything else in it.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let object = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)
        .map_err(|error| D::Error::custom(error.to_string()))?;
    Ok(object.into_iter().flatten().filter_map(|(key, value)| Some((key, amount(&value)?))).collect())
}

/// An amount of usage: a finite number of 0 or more.
pub(crate) fn amount(value: &serde_json::Value) -> Option<f64> {
    value.as_f64().filter(|amount| amount.is_finite() && *amount >= 0.0)
}

/// An answer's JSON, with Python's NaN and Infinity, and numbers beyond f64, read as null.
pub(crate) fn json<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, BadAnswer> {
    let read = serde_json::from_slice(body);
    let read = read.or_else(|error| without_names(body).map_or(Err(error), |body| serde_json::from_slice(&body)));
    read.map_err(|error| {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).trim().to_owned();
        BadAnswer::from(format!("cannot parse the answer: {error}; it begins with {start:?}"))
    })
}

/// `body` with null for each NaN, Infinity or number beyond f64 outside of strings; none if there are none.
fn without_names(body: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut at, mut in_text) = (Vec::with_capacity(body.len()), 0, false);
    let mut found = false;
    while at < body.len() {
        let name = [&b"NaN"[..], b"-Infinity", b"Infinity"].into_iter().find(|name| body[at..].starts_with(name));
        let name = name.map(<[u8]>::len).or_else(|| huge(&body[at..]));
        match (body[at], name) {
            (_, Some(length)) if !in_text => {
                out.extend_from_slice(b"null");
                (at, found) = (at + length, true);
                continue;
            }
            (b'-' | b'0'..=b'9', None) if !in_text => {
                let length = number(&body[at..]);
                out.extend_from_slice(&body[at..at + length]);
                at += length;
                continue;
            }
            (b'"', _) => in_text = !in_text,
            (b'\\', _) if in_text => {
                out.push(body[at]);
                at += 1;
            }
            _ => {}
        }
        out.extend(body.get(at));
        at += 1;
    }
    found.then_some(out)
}

/// Bytes of the number that `text` begins with.
fn number(text: &[u8]) -> usize {
    let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    text.iter().take_while(|byte| is_of_number(byte)).count()
}

/// Bytes of the number that `text` begins with, if f64 cannot hold it.
fn huge(text: &[u8]) -> Option<usize> {
    let starts = matches!(text.first(), Some(b'-' | b'0'..=b'9'));
    let length = if starts { number(text) } else { return None };
    let value: f64 = std::str::from_utf8(&text[..length]).ok()?.parse().ok()?;
    value.is_infinite().then_some(length)
}

/// Vectors in the order of their indices, or as they come if none has an index.
fn in_order(data: Vec<Indexed>) -> Result<Vec<Vector>, String> {
    let count = data.len();
    if data.iter().all(|row| row.index.is_none()) {
        return Ok(data.into_iter().map(|row| row.embedding).collect());
    }
    let mut places: Vec<Option<Vector>> = vec![None; count];
    for Indexed { index, embedding } in data {
        let index = index.ok_or("some vectors in the answer have an index and some do not")?;
        let place =
            places.get_mut(index).ok_or_else(|| format!("index {index} is out of range for {count} vectors"))?;
        if place.replace(embedding).is_some() {
            return Err(format!("index {index} appears twice"));
        }
    }
    Ok(places.into_iter().flatten().collect())
}

impl Answer {
    /// Checks each vector of an answer for `inputs` inputs: the good ones have one width.
    pub(crate) fn judge(self, inputs: usize) -> Result<Vec<Judged>, String> {
        let Self { vectors, .. } = self;
        if vectors.len() != inputs {
            return Err(format!("wrong number of vectors: {} instead of {inputs}", vectors.len()));
        }
        let judged: Vec<Judged> = vectors.into_iter().map(Vector::judge).collect();
        let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
        judged.iter().flatten().for_each(|vector| *widths.entry(vector.len()).or_default() += 1);
        let Some((&width, &most)) = widths.iter().max_by_key(|(_, count)| **count) else { return Ok(judged) };
        if let Some((other, _)) = widths.iter().find(|(other, count)| **other != width && **count == most) {
            return Err(format!("vectors of {width} and of {other} values in one answer"));
        }
        let of_one_width = |vector: Vec<f32>| match vector.len() == width {
            true => Ok(vector),
            false => Err(format!("has {} values, but the others in its answer have {width}", vector.len())),
        };
        Ok(judged.into_iter().map(|vector| vector.and_then(of_one_width)).collect())
    }
}

impl Vector {
    fn judge(self) -> Judged {
        let values = self.0?;
        match values.iter().position(|value| !value.is_finite()) {
            _ if values.is_empty() => Err("is empty".to_owned()),
            Some(at) => Err(format!("has no finite value at position {at}")),
            None if values.iter().all(|&value| value == 0.0) => Err("is all zeros".to_owned()),
            None => Ok(values),
        }
    }
}
