//! Checks that an answer must pass: as many vectors as inputs, in their order, of one width.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use std::collections::BTreeMap;

use crate::vector::{Fault, Judged, Vector};

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
    /// True if the answer to any request of this kind would be as bad.
    pub(crate) of_form: bool,
    pub(crate) usage: BTreeMap<String, f64>,
}

impl From<String> for BadAnswer {
    fn from(reason: String) -> Self {
        Self { reason, of_form: false, usage: BTreeMap::new() }
    }
}

impl BadAnswer {
    /// An answer of another form.
    pub(crate) fn form(reason: String) -> Self {
        Self { of_form: true, ..Self::from(reason) }
    }
}

/// A vector and the index that its answer gives it, if any.
#[derive(Deserialize)]
pub(crate) struct Indexed {
    #[serde(default)]
    index: serde_json::Value,
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
            Err(reason) => Err(BadAnswer { usage, ..reason.into() }),
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

/// The position that an index names; none if it is left out.
fn position(index: &serde_json::Value) -> Result<Option<usize>, String> {
    let whole = |number: f64| (number >= 0.0 && number.fract() == 0.0 && number < 1e9).then_some(number as usize);
    let position = match index {
        serde_json::Value::Null => return Ok(None),
        serde_json::Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64().and_then(whole),
    };
    position.map(Some).ok_or_else(|| format!("index {index} is no position"))
}

/// Vectors in the order of their indices, or as they come where these say nothing.
fn in_order(data: Vec<Indexed>) -> Result<Vec<Vector>, String> {
    let indices: Vec<Option<usize>> = data.iter().map(|row| position(&row.index)).collect::<Result<_, _>>()?;
    let order = order(&indices)?;
    let mut places: Vec<Option<Vector>> = vec![None; data.len()];
    for (place, Indexed { embedding, .. }) in order.into_iter().zip(data) {
        places[place] = Some(embedding);
    }
    Ok(places.into_iter().flatten().collect())
}

/// The place of each vector: a permutation.
fn order(indices: &[Option<usize>]) -> Result<Vec<usize>, String> {
    let count = indices.len();
    let as_they_come = || Ok((0..count).collect());
    let given: Vec<usize> = indices.iter().flatten().copied().collect();
    // None says anything, or there is nothing to say; or all say what is said of the only vector of a request.
    if given.is_empty() || count == 1 || given.len() == count && given.iter().all(|index| *index == 0) {
        return as_they_come();
    }
    // JSON writers that leave out what is 0.
    if indices.iter().enumerate().all(|(place, index)| index.is_none_or(|index| index == place)) {
        return as_they_come();
    }
    // Some count from 1.
    let first = usize::from(!given.contains(&0) && given.len() == count && given.contains(&count));
    let mut taken = vec![false; count];
    for index in &given {
        let taken = index.checked_sub(first).and_then(|place| taken.get_mut(place));
        match taken {
            None => return Err(format!("index {index} is out of range for {count} vectors")),
            Some(true) => return Err(format!("index {index} appears twice")),
            Some(taken) => *taken = true,
        }
    }
    // A position that nobody else claims is the missing one's.
    let mut free = (0..count).filter(|place| !taken[*place]);
    let only = free.next().filter(|_| free.next().is_none());
    let place = |index: &Option<usize>| index.map(|index| index - first).or(only);
    let places: Option<Vec<usize>> = indices.iter().map(place).collect();
    places.ok_or_else(|| "some vectors in the answer have an index and some do not".to_owned())
}

impl Answer {
    /// Checks each vector of an answer for `inputs` inputs: the good ones have one width.
    pub(crate) fn judge(self, inputs: usize) -> Result<Vec<Judged>, BadAnswer> {
        let Self { vectors, .. } = self;
        let judged: Vec<Judged> = vectors.into_iter().map(Vector::judge).collect();
        let all_of_form = judged.iter().all(|vector| vector.as_ref().is_err_and(|fault| fault.of_form));
        if let Some(Err(fault)) = judged.first().filter(|_| all_of_form) {
            return Err(BadAnswer::form(format!("each vector {}", fault.reason)));
        }
        if judged.len() != inputs {
            return Err(format!("wrong number of vectors: {} instead of {inputs}", judged.len()).into());
        }
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_say_the_order_as_far_as_they_say_anything() {
        let of = |indices: &str| {
            let data: Vec<serde_json::Value> = serde_json::from_str(indices).unwrap();
            let indices: Result<Vec<_>, _> = data.iter().map(position).collect();
            indices.and_then(|indices| order(&indices))
        };
        let good = [
            ("[0, 1, 2]", [0, 1, 2]),
            ("[2, 0, 1]", [2, 0, 1]),
            ("[null, null, null]", [0, 1, 2]),
            // 0 is left out, in its place and in another one; and another than 0.
            ("[null, 1, 2]", [0, 1, 2]),
            ("[2, null, 1]", [2, 0, 1]),
            ("[0, null, 1]", [0, 2, 1]),
            ("[null, null, 2]", [0, 1, 2]),
            ("[\"1\", \"0\", \"2\"]", [1, 0, 2]),
            ("[0.0, 2.0, 1.0]", [0, 2, 1]),
            ("[1, 2, 3]", [0, 1, 2]),
            ("[3, 1, 2]", [2, 0, 1]),
            ("[0, 0, 0]", [0, 1, 2]),
        ];
        for (indices, wanted) in good {
            assert_eq!(of(indices), Ok(wanted.to_vec()), "{indices}");
        }
        let bad = [
            ("[0, 0, 1]", "index 0 appears twice"),
            ("[0, 1, 3]", "index 3 is out of range for 3 vectors"),
            ("[2, null, null]", "some vectors in the answer have an index and some do not"),
            ("[1, 1, null]", "index 1 appears twice"),
            ("[-1, 0, 1]", "index -1 is no position"),
            ("[\"a\", 0, 1]", "index \"a\" is no position"),
        ];
        for (indices, reason) in bad {
            assert_eq!(of(indices), Err(reason.to_owned()), "{indices}");
        }
    }
}
