//! The gallery's contract: committed data is intact, uncommitted data leaves no trace, and search is exact.

mod codes;
mod crash;
mod damage;
mod export;
mod search;
mod writing;

use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

use super::info::Header;
use super::*;

/// Rows of a segment: few, so that most commits end one.
const SEGMENT: usize = 4;

fn info(width: usize, dtype: Dtype) -> GalleryInfo {
    let origin = Origin { run: "runs/a".into(), digest: "1f".into(), tower: "image".into(), encoders: BTreeMap::new() };
    let columns = vec!["name".into(), "price".into()];
    GalleryInfo { width, dtype, columns, item_column: None, id_column: None, origin }
}

/// A gallery of small segments.
fn create(folder: &Path, width: usize, dtype: Dtype) -> Writer {
    let mut header = Header::new(info(width, dtype)).unwrap();
    header.segment = SEGMENT;
    Writer::create_as(folder, header).unwrap()
}

fn exhibit(id: &str, price: impl Into<Value>) -> Exhibit {
    Exhibit { id: id.to_owned(), metadata: vec![json!(format!("the {id}")), price.into()] }
}

fn exhibits(ids: &[&str]) -> Vec<Exhibit> {
    ids.iter().map(|id| exhibit(id, id.len())).collect()
}

/// Appends items whose vectors are `start`, `start + 1` and so on, value by value.
fn append(writer: &mut Writer, ids: &[&str], start: f32) -> Appended {
    let count = ids.len() * writer.info().width;
    let vectors: Vec<f32> = (0..count).map(|value| start + value as f32).collect();
    writer.append(&exhibits(ids), &vectors).unwrap()
}

/// Everything that a reader sees: items and their vectors, in order.
fn contents(folder: &Path) -> Vec<(Exhibit, Vec<f32>)> {
    let gallery = Gallery::open(folder).unwrap();
    gallery.verify().unwrap();
    let contents = gallery.rows().map(|row| (gallery.exhibit(row).unwrap(), gallery.vector(row).unwrap()));
    let contents: Vec<_> = contents.collect();
    assert_eq!(contents.len(), gallery.len());
    contents
}

fn ids(folder: &Path) -> Vec<String> {
    contents(folder).into_iter().map(|(exhibit, _)| exhibit.id).collect()
}

/// Values from -1 to 1, the same for the same seed.
fn noise(count: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next()).collect()
}
