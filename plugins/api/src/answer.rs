//! What is checked before a vector counts: number, order, one width, finite and not all zero.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Error as _, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;
use std::fmt;

/// The vectors of a request, in the order of its inputs, and what it used by unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) vectors: Vec<Vec<f32>>,
    pub(crate) usage: BTreeMap<String, f64>,
}

/// Why an answer cannot be used; it may have been paid for all the same.
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

/// A vector as JSON has it: numbers, or f32 little-endian in base64.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Vector(pub(crate) Vec<f32>);

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
                while let Some(value) = numbers.next_element::<f64>()? {
                    values.push(value as f32);
                }
                Ok(Vector(values))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Vector, E> {
                let bytes = STANDARD.decode(text).map_err(|error| E::custom(format!("not base64: {error}")))?;
                let (values, rest) = bytes.as_chunks::<4>();
                match rest.is_empty() {
                    true => Ok(Vector(values.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect())),
                    false => Err(E::custom(format!("{} bytes, which are no f32", bytes.len()))),
                }
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A vector and the place that its answer gives it, if it gives one.
#[derive(Deserialize)]
pub(crate) struct Indexed {
    index: Option<usize>,
    embedding: Vector,
}

/// OpenAI's answer, and that of all who took it over.
#[derive(Deserialize)]
pub(crate) struct OpenAiAnswer {
    data: Vec<Indexed>,
    #[serde(default, deserialize_with = "numbers")]
    usage: BTreeMap<String, f64>,
}

impl OpenAiAnswer {
    pub(crate) fn read(body: &[u8]) -> Result<Answer, BadAnswer> {
        let Self { data, usage } = json(body)?;
        let tokens = usage.get("prompt_tokens").or_else(|| usage.get("total_tokens"));
        let usage = tokens.map(|tokens| ("tokens".to_owned(), *tokens)).into_iter().collect();
        match in_order(data) {
            Ok(vectors) => Ok(Answer { vectors, usage }),
            Err(reason) => Err(BadAnswer { reason, usage }),
        }
    }
}

/// The numbers of an object; whatever else it holds is of no interest.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let object = Option::<serde_json::Map<String, serde_json::Value>>::deserialize(deserializer)
        .map_err(|error| D::Error::custom(error.to_string()))?;
    Ok(object.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_f64()?))).collect())
}

/// An answer's JSON.
pub(crate) fn json<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, BadAnswer> {
    serde_json::from_slice(body).map_err(|error| {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).trim().to_owned();
        BadAnswer::from(format!("the answer does not read: {error}; it begins with {start:?}"))
    })
}

/// Vectors by their indices; if none has one, as they come.
fn in_order(data: Vec<Indexed>) -> Result<Vec<Vec<f32>>, String> {
    let count = data.len();
    if data.iter().all(|row| row.index.is_none()) {
        return Ok(data.into_iter().map(|row| row.embedding.0).collect());
    }
    let mut places: Vec<Option<Vec<f32>>> = vec![None; count];
    for Indexed { index, embedding } in data {
        let index = index.ok_or("an answer with and without indices")?;
        let place = places.get_mut(index).ok_or_else(|| format!("index {index} among {count} vectors"))?;
        if place.replace(embedding.0).is_some() {
            return Err(format!("index {index} is there twice"));
        }
    }
    Ok(places.into_iter().flatten().collect())
}

impl Answer {
    /// Checks what came for `inputs` inputs; returns the vectors' width.
    pub(crate) fn check(&self, inputs: usize) -> Result<usize, String> {
        let Self { vectors, .. } = self;
        if vectors.len() != inputs {
            return Err(format!("{} vectors for {inputs} inputs", vectors.len()));
        }
        let width = vectors.first().map_or(0, Vec::len);
        for (place, vector) in vectors.iter().enumerate() {
            if vector.is_empty() {
                return Err(format!("vector {place} is empty"));
            }
            if vector.len() != width {
                return Err(format!("vectors of {width} and of {} values in one answer", vector.len()));
            }
            if let Some(at) = vector.iter().position(|value| !value.is_finite()) {
                return Err(format!("vector {place} has {} at position {at}", vector[at]));
            }
            if vector.iter().all(|&value| value == 0.0) {
                return Err(format!("vector {place} is all zeros"));
            }
        }
        Ok(width)
    }
}
