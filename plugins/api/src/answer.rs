//! Checks that an answer must pass: as many vectors as inputs, in their order, of one width.

use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::order::{self, Counting};
use crate::said::refusal_in;
use crate::scalar::Scalar;
use crate::vector::{Fault, Judged, Kind, Vector, Whole, is_of_error};

/// The vectors of an answer, with their indices where it has any, and its usage by unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Answer {
    pub(crate) vectors: Vec<Vector>,
    /// As many as vectors, or none.
    pub(crate) indices: Vec<Option<i64>>,
    /// The server's words beside the vectors.
    pub(crate) said: Option<String>,
    pub(crate) usage: BTreeMap<String, f64>,
    /// The model that the server reports.
    pub(crate) model: Option<String>,
}

/// The reason why an answer cannot be used; it may have been paid for all the same.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct BadAnswer {
    pub(crate) reason: String,
    /// Other than of values if the answer to any request of this kind would be as bad.
    pub(crate) kind: Kind,
    pub(crate) usage: BTreeMap<String, f64>,
}

impl From<String> for BadAnswer {
    fn from(reason: String) -> Self {
        Self { reason, kind: Kind::Values, usage: BTreeMap::new() }
    }
}

impl BadAnswer {
    /// An answer of another form.
    pub(crate) fn form(reason: String) -> Self {
        Self { kind: Kind::Form, ..Self::from(reason) }
    }
}

/// A vector or an error, and the index that its answer gives it, if any.
pub(crate) struct Row {
    index: Value,
    vector: Vector,
}

impl From<Vector> for Row {
    /// What stands in place of an object, without an index.
    fn from(vector: Vector) -> Self {
        Self { index: Value::Null, vector }
    }
}

impl<'de> Deserialize<'de> for Row {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyRow)
    }
}

/// Reads anything as a row: what is no object is a vector, or the fault in place of one.
struct AnyRow;

impl<'de> Visitor<'de> for AnyRow {
    type Value = Row;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a vector")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Row, A::Error> {
        let (mut index, mut vector, mut said) = (Value::Null, None, Map::new());
        while let Some(key) = entries.next_key::<String>()? {
            match &*key {
                "index" => index = entries.next_value()?,
                // A field that is there, if only as null.
                "embedding" | "values" => vector = Some(entries.next_value()?),
                key if is_of_error(key) => drop(said.insert(key.to_owned(), entries.next_value()?)),
                _ => drop(entries.next_value::<IgnoredAny>()?),
            }
        }
        let vector = match vector {
            Some(vector) if Vector::is_read(&vector) => vector,
            other => match refusal_in(&Value::Object(said)) {
                Some(refusal) => Vector::fault(Fault::stated(refusal)),
                None => other.unwrap_or_else(|| Vector::fault(Fault::missing(None))),
            },
        };
        Ok(Row { index, vector })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Row, A::Error> {
        Whole.visit_seq(elements).map(Row::from)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Row, E> {
        Whole.visit_str(text).map(Row::from)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<Row, E> {
        Whole.visit_unit().map(Row::from)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<Row, E> {
        Whole.visit_bool(value).map(Row::from)
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Row, E> {
        Whole.visit_f64(value).map(Row::from)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<Row, E> {
        self.visit_f64(value as f64)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<Row, E> {
        self.visit_f64(value as f64)
    }
}

/// The vectors of rows, of which at least one has a vector or an error.
pub(crate) fn vectors(rows: Vec<Row>) -> Result<Vec<Vector>, BadAnswer> {
    let vectors: Vec<Vector> = rows.into_iter().map(|row| row.vector).collect();
    match vectors.first() {
        Some(_) if vectors.iter().all(Vector::is_missing) => {
            Err(BadAnswer::form("the rows of the answer have neither a vector nor an error".to_owned()))
        }
        _ => Ok(vectors),
    }
}

/// The answer of OpenAI and compatible servers.
#[derive(Deserialize)]
pub(crate) struct OpenAiAnswer {
    data: Vec<Row>,
    #[serde(default)]
    model: Value,
    #[serde(default, deserialize_with = "numbers")]
    usage: BTreeMap<String, f64>,
    #[serde(default)]
    error: Value,
    #[serde(default)]
    errors: Value,
    #[serde(default)]
    message: Value,
    #[serde(default)]
    detail: Value,
}

impl OpenAiAnswer {
    pub(crate) fn read(body: &[u8]) -> Result<Answer, BadAnswer> {
        let Self { data, model, usage, error, errors, message, detail } = json(body)?;
        let tokens = usage.get("prompt_tokens").or_else(|| usage.get("total_tokens"));
        let usage: BTreeMap<_, _> = tokens.map(|tokens| ("tokens".to_owned(), *tokens)).into_iter().collect();
        let said = refusal_in(&json!({"error": error, "errors": errors, "message": message, "detail": detail}));
        let said = said.map(|refusal| refusal.words);
        let indices: Result<Vec<_>, _> = data.iter().map(|row| order::number(&row.index)).collect();
        match indices.map_err(BadAnswer::from).and_then(|indices| Ok((indices, vectors(data)?))) {
            Ok((indices, vectors)) => {
                Ok(Answer { vectors, indices, said, usage, model: model.as_str().map(str::to_owned) })
            }
            Err(bad) => Err(BadAnswer { usage, ..bad }),
        }
    }
}

/// The numbers of an object, ignoring everything else in it; none of what is no object.
pub(crate) fn numbers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let numbers = value.as_object().into_iter().flatten();
    Ok(numbers.filter_map(|(key, value)| Some((key.clone(), amount(value)?))).collect())
}

/// An amount of usage: a finite number of 0 or more.
pub(crate) fn amount(value: &Value) -> Option<f64> {
    value.as_f64().filter(|amount| amount.is_finite() && *amount >= 0.0)
}

/// An answer's JSON, with Python's NaN and Infinity, and numbers beyond f64, read as null.
pub(crate) fn json<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, BadAnswer> {
    let read = serde_json::from_slice(body);
    let read = read.or_else(|error| without_names(body).map_or(Err(error), |body| serde_json::from_slice(&body)));
    read.map_err(|error| {
        let start = String::from_utf8_lossy(&body[..body.len().min(80)]).trim().to_owned();
        let reason = format!("cannot parse the answer: {error}; it begins with {start:?}");
        // Whole JSON that has something else in it; what is cut or of a proxy passes.
        if error.is_data() { BadAnswer::form(reason) } else { reason.into() }
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

impl Answer {
    /// Learns how the server counts from an answer for so many inputs.
    pub(crate) fn teach(&self, seen: &order::Seen, inputs: usize) {
        if let Some(first) = order::first(&self.indices).filter(|_| inputs > 1 && self.vectors.len() == inputs) {
            seen.learn(first);
        }
        if order::have_gap(&self.indices_of_vectors(), inputs) {
            seen.learn_gap();
        }
    }

    /// The indices without those of what is no vector and has none.
    fn indices_of_vectors(&self) -> Vec<Option<i64>> {
        let rows = self.indices.iter().zip(&self.vectors);
        rows.filter(|(index, vector)| index.is_some() || vector.is_read()).map(|(index, _)| *index).collect()
    }

    /// True if it could be used, were it known where the server counts from.
    pub(crate) fn wants_first(&self, inputs: usize) -> bool {
        let is_in_order = self.indices.len() == inputs && order::are_in_place(&self.indices, 0);
        !is_in_order && order::want_first(&self.indices_of_vectors(), inputs)
    }

    /// What its vectors in base64 are, and how many values each has as f32; none if it has no such vectors.
    pub(crate) fn scalar(&self) -> Option<(Scalar, usize)> {
        let packed = self.vectors.iter().filter_map(Vector::packed).filter(|values| !values.is_empty());
        let packed: Vec<&[f32]> = packed.collect();
        Some((Scalar::of(&packed), packed.first()?.len()))
    }

    /// Checks each vector of an answer for `inputs` inputs: the good ones have one width.
    pub(crate) fn judge(self, inputs: usize, known: Counting) -> Result<Vec<Judged>, BadAnswer> {
        if let Some((Scalar::Other(name), _)) = self.scalar() {
            let reason = format!("each vector has {name} values in base64, not little-endian f32 values");
            return Err(BadAnswer { kind: Kind::Packed, ..BadAnswer::from(reason) });
        }
        let Self { vectors, indices, said, .. } = self;
        let judged: Vec<Judged> = vectors.into_iter().map(Vector::judge).collect();
        let all_of_form = judged.iter().all(|vector| vector.as_ref().is_err_and(Fault::is_of_form));
        if let Some(Err(fault)) = judged.first().filter(|_| all_of_form) {
            let reason = format!("each vector {}", fault.reason);
            return Err(BadAnswer { kind: fault.kind, ..BadAnswer::from(reason) });
        }
        if inputs == 1 && judged.len() > 1 {
            return Err(BadAnswer::form(format!("{} vectors for one item, where there must be one", judged.len())));
        }
        of_one_width(in_order(judged, &indices, inputs, known, said.as_deref())?)
    }
}

/// The vectors of an answer in the order of its inputs.
fn in_order(
    judged: Vec<Judged>,
    indices: &[Option<i64>],
    inputs: usize,
    known: Counting,
    said: Option<&str>,
) -> Result<Vec<Judged>, String> {
    let is_whole = judged.len() == inputs;
    let wrong = format!("wrong number of vectors: {} instead of {inputs}", judged.len());
    if indices.is_empty() || judged.len() > inputs {
        return if is_whole { Ok(judged) } else { Err(wrong) };
    }
    // What is no vector and has no index stands for one of the inputs that have none.
    let is_bare = |row: &usize| indices[*row].is_none() && judged[*row].is_err();
    let places = match is_whole {
        true if order::are_in_place(indices, known.first.unwrap_or(0)) => Ok((0..inputs).collect()),
        true if indices.iter().any(Option::is_some) && (0..inputs).any(|row| is_bare(&row)) => {
            Err("it is not certain which input has no vector".to_owned())
        }
        true => order::places(indices),
        false => Err(wrong),
    };
    let places: Vec<(usize, usize)> = match places {
        Ok(places) => places.into_iter().enumerate().collect(),
        Err(reason) => {
            let rows = (0..judged.len()).filter(|row| !is_bare(row));
            // JSON writers that leave out what is 0.
            let is_first = |row: usize| row == 0 && indices[1..].iter().flatten().is_sorted_by(|a, b| 0 < **a && a < b);
            let index = |row: usize| indices[row].or(is_first(row).then_some(0));
            let rows: Option<Vec<(usize, i64)>> = rows.map(|row| Some((row, index(row)?))).collect();
            let rows = rows.ok_or_else(|| reason.clone())?;
            let numbers: Vec<i64> = rows.iter().map(|(_, index)| *index).collect();
            let places = order::places_of_some(&numbers, inputs, known).ok_or(reason)?;
            rows.into_iter().map(|(row, _)| row).zip(places).collect()
        }
    };
    let mut rows: Vec<Option<Judged>> = judged.into_iter().map(Some).collect();
    let mut ordered: Vec<Judged> = (0..inputs).map(|_| Err(Fault::missing(said))).collect();
    let mut free: BTreeSet<usize> = (0..inputs).collect();
    for (row, place) in places {
        free.remove(&place);
        if let Some(vector) = rows[row].take() {
            ordered[place] = vector;
        }
    }
    // What is said of one, where one is left.
    let mut rest = rows.into_iter().flatten();
    if let (Some(place), true, Some(said), None) = (free.pop_first(), free.is_empty(), rest.next(), rest.next()) {
        ordered[place] = said;
    }
    Ok(ordered)
}

/// The same vectors, with a fault in place of each of another width than most have.
fn of_one_width(judged: Vec<Judged>) -> Result<Vec<Judged>, BadAnswer> {
    let mut widths: BTreeMap<usize, usize> = BTreeMap::new();
    judged.iter().flatten().for_each(|vector| *widths.entry(vector.len()).or_default() += 1);
    let Some((&width, &most)) = widths.iter().max_by_key(|(_, count)| **count) else { return Ok(judged) };
    if let Some((other, _)) = widths.iter().find(|(other, count)| **other != width && **count == most) {
        return Err(format!("vectors of {width} and of {other} values in one answer").into());
    }
    let of_one_width = |vector: Vec<f32>| match vector.len() == width {
        true => Ok(vector),
        false => {
            let got = vector.len();
            Err(Fault::from(format!("has {got} values, but the others in its answer have {width}")))
        }
    };
    Ok(judged.into_iter().map(|vector| vector.and_then(of_one_width)).collect())
}
