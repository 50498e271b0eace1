//! Points of a collection of Qdrant, through its REST interface.
//!
//! A point's number is made from the item's id, so that an item that is sent again replaces itself. Before a batch is
//! sent, the collection is asked which of its points are there with the same content, and those are left out: an export
//! that was stopped goes on where it was, and one that is repeated sends what has changed.

use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::HashMap;

use super::items::object;
use super::{Batch, ExportError};
use crate::gallery::GalleryInfo;
use crate::stop::Stop;

mod client;

use client::Client;

/// Items a request.
pub(super) const POINTS: usize = 256;
/// The key of a point's payload with a checksum of the item and its vector.
const CHECKSUM: &str = "fusemix_checksum";
/// The environment variable with the server's key.
pub(super) const KEY: &str = "QDRANT_API_KEY";

/// A collection of a Qdrant server. Its key is in the environment variable `QDRANT_API_KEY`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collection {
    /// The server, such as `http://localhost:6333`.
    pub url: String,
    /// The collection's name; it is made if the server has none of that name.
    pub name: String,
}

pub(super) struct Sink {
    client: Client,
    columns: Vec<String>,
    width: usize,
    /// True if the server brings vectors to length 1.
    by_cosine: bool,
}

impl Sink {
    pub(super) fn begin(info: &GalleryInfo, collection: &Collection, stop: &Stop) -> Result<Self, ExportError> {
        if let Some(column) = info.columns.iter().find(|column| *column == CHECKSUM || *column == "id") {
            return Err(ExportError::Reserved { column: column.clone(), what: "the export to Qdrant" });
        }
        let client = Client::new(collection, std::env::var(KEY).ok().filter(|key| !key.is_empty()), stop)?;
        let mut sink = Self { client, columns: info.columns.clone(), width: info.width, by_cosine: false };
        match sink.client.get("")? {
            Some(answer) => sink.check(&answer)?,
            None => drop(sink.client.put("", &json!({"vectors": {"size": info.width, "distance": "Dot"}}))?),
        }
        Ok(sink)
    }

    /// An error if a collection that is there takes other vectors.
    fn check(&mut self, answer: &Value) -> Result<(), ExportError> {
        let vectors = &answer["result"]["config"]["params"]["vectors"];
        let width = vectors["size"].as_u64();
        if width != Some(self.width as u64) {
            let has = width.map_or("named vectors".to_owned(), |width| format!("vectors of {width} values"));
            let what = format!("the collection takes {has}, not vectors of {}; name another", self.width);
            return Err(self.client.error(what));
        }
        match vectors["distance"].as_str() {
            Some(distance @ ("Dot" | "Cosine")) => {
                self.by_cosine = distance == "Cosine";
                Ok(())
            }
            other => {
                let distance = other.unwrap_or("nothing");
                let what = format!("the collection compares by {distance}, not by Dot or Cosine; name another");
                Err(self.client.error(what))
            }
        }
    }

    /// The checksum of each point that is there, by its number.
    fn there(&self, numbers: &[String]) -> Result<HashMap<String, String>, ExportError> {
        let wanted = json!({"ids": numbers, "with_payload": [CHECKSUM], "with_vector": false});
        let answer = self.client.post("/points", &wanted)?;
        let Value::Array(points) = &answer["result"] else {
            return Err(self.client.error("the answer has no list `result`; is this Qdrant?".to_owned()));
        };
        let of = |point: &Value| {
            let sum = point["payload"][CHECKSUM].as_str().unwrap_or_default();
            Some((point["id"].as_str()?.to_owned(), sum.to_owned()))
        };
        Ok(points.iter().filter_map(of).collect())
    }
}

#[derive(Serialize)]
struct Points<'a> {
    points: &'a [Point<'a>],
}

/// A point as it is sent, with the digits that f32 has.
#[derive(Serialize)]
struct Point<'a> {
    id: String,
    vector: &'a [f32],
    payload: Map<String, Value>,
}

/// A point's number: a UUID of version 8 from the item's id.
fn number(id: &str) -> String {
    let mut bytes: [u8; 16] = blake3::hash(id.as_bytes()).as_bytes()[..16].try_into().expect("32 bytes");
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn has_length_1(vector: &[f32]) -> bool {
    let squares: f32 = vector.iter().map(|value| value * value).sum();
    (squares - 1.0).abs() < 0.01
}

fn checksum(payload: &Map<String, Value>, vector: &[f32]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&serde_json::to_vec(payload).expect("all keys are text")).update(bytemuck::cast_slice(vector));
    hasher.finalize().to_hex()[..16].to_owned()
}

impl super::Sink for Sink {
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError> {
        if self.by_cosine && batch.vectors.chunks_exact(self.width).any(|vector| !has_length_1(vector)) {
            let what = "the collection compares by Cosine, but the gallery's vectors have a term against hubs, and are \
                        compared by inner product: name a collection that compares by Dot, or one that is not there yet";
            return Err(self.client.error(what.to_owned()));
        }
        let numbers: Vec<String> = batch.exhibits.iter().map(|exhibit| number(&exhibit.id)).collect();
        let there = self.there(&numbers)?;
        let all = batch.exhibits.len();
        let vectors = batch.vectors.chunks_exact(self.width);
        let points = batch.exhibits.into_iter().zip(vectors).zip(numbers).filter_map(|((exhibit, vector), number)| {
            let mut payload = object(exhibit, &self.columns);
            let sum = checksum(&payload, vector);
            if there.get(&number) == Some(&sum) {
                return None;
            }
            payload.insert(CHECKSUM.to_owned(), sum.into());
            Some(Point { id: number, vector, payload })
        });
        let points: Vec<Point<'_>> = points.collect();
        if !points.is_empty() {
            self.client.put("/points?wait=true", &Points { points: &points })?;
        }
        Ok(all - points.len())
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_a_uuid_and_the_same_for_the_same_id() {
        let one = number("sku-1");
        assert_eq!(one, number("sku-1"));
        assert_ne!(one, number("sku-2"));
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&one[14..15], "8");
        assert!("89ab".contains(&one[19..20]));
    }
}
