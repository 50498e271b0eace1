//! `fusemix serve`: embeddings, searches and changes of galleries over HTTP, in the forms of other servers.

mod access;
mod clients;
mod description;
mod embeddings;
mod files;
mod galleries;
mod load;
mod served;

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::common::Place;
use crate::train::place;

fn numbers(of: &Value) -> Vec<f64> {
    of.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

fn close(one: &[f64], other: &[f64]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| (one - other).abs() < 1e-5)
}

/// The files of a place that was made once, by their names.
type Files = BTreeMap<String, Vec<u8>>;

/// A place with the files of the one that `make` makes, which is made once.
fn copy(made: &OnceLock<Files>, make: fn() -> Place) -> Place {
    let files = made.get_or_init(|| {
        let place = make();
        let (root, mut folders, mut files) = (place.path(""), vec![place.path("")], Files::new());
        while let Some(folder) = folders.pop() {
            for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    files.insert(name, std::fs::read(path).unwrap());
                }
            }
        }
        files
    });
    let place = Place::new("");
    files.iter().for_each(|(name, bytes)| place.write(name, bytes));
    place
}

/// A trained place, with a gallery of the test pairs' right sides.
fn trained() -> Place {
    static TRAINED: OnceLock<Files> = OnceLock::new();
    copy(&TRAINED, newly_trained)
}

/// The same where it was trained: its run finds the pairs again.
fn newly_trained() -> Place {
    let place = place();
    place.json("train fusion.toml --out run --device cpu");
    let rows = place.read("test.tsv");
    let rows = rows.lines().skip(1).enumerate().map(|(row, line)| format!("sku-{row}\t{line}\t{row}\n"));
    place.write("items.tsv", format!("sku\ta\tb\tprice\n{}", rows.collect::<String>()));
    place.json("gallery build run --tower right --data items.tsv --id sku --metadata price --out gallery");
    place
}
