//! A JSON object a line, the vector among its values.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Map, Value};

use super::items::object;
use super::out::{Open, Out};
use super::{Batch, ExportError};
use crate::gallery::GalleryInfo;

pub(super) struct Sink {
    out: Open,
    columns: Vec<String>,
    vector: String,
    width: usize,
}

impl Sink {
    pub(super) fn begin(info: &GalleryInfo, out: &Out, vector: &str) -> Result<Self, ExportError> {
        super::free(&info.columns, vector)?;
        let (columns, vector) = (info.columns.clone(), vector.to_owned());
        Ok(Self { out: Open::create(out)?, columns, vector, width: info.width })
    }
}

/// An item with its vector as f32, whose shortest digits are fewer than those of f64.
struct Line<'a> {
    item: &'a Map<String, Value>,
    vector: (&'a str, &'a [f32]),
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.item.len() + 1))?;
        for (key, value) in self.item {
            map.serialize_entry(key, value)?;
        }
        map.serialize_entry(self.vector.0, self.vector.1)?;
        map.end()
    }
}

impl super::Sink for Sink {
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError> {
        for (exhibit, values) in batch.exhibits.into_iter().zip(batch.vectors.chunks_exact(self.width)) {
            let item = object(exhibit, &self.columns);
            let line = Line { item: &item, vector: (&self.vector, values) };
            let mut line = serde_json::to_vec(&line).expect("all keys are text");
            line.push(b'\n');
            self.out.write(&line)?;
        }
        Ok(0)
    }

    fn finish(self: Box<Self>) -> Result<(), ExportError> {
        self.out.finish()
    }
}
