//! Samples: what the files of one name make together, in a folder or in an archive; and files in folders of classes.

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::draft::Draft;
use super::error::DataError;
use super::fields::{self, Field, ending};
use super::json;
use super::roots::Roots;
use super::table::Table;
use super::usual::SPLITS;
use super::wanted::Wanted;
use crate::regular;

/// The row that the files of a sample make.
pub(super) struct Sample<'d, 'w> {
    pub(super) draft: &'d mut Draft<'w>,
    objects: Vec<Map<String, Value>>,
    /// The first thing that is wrong with it.
    broken: Option<String>,
}

impl<'d, 'w> Sample<'d, 'w> {
    /// The row of this key.
    pub(super) fn begin(draft: &'d mut Draft<'w>, key: &[u8]) -> Self {
        draft.set("key", key);
        Self { draft, objects: Vec::new(), broken: None }
    }

    /// Notes what is wrong with a file, unless there is something already.
    pub(super) fn wrong(&mut self, file: &str, reason: &str) {
        self.broken.get_or_insert_with(|| format!("{file} {reason}"));
    }

    /// Adds the text in a file, or the values of its JSON; one that is not wanted is not read.
    pub(super) fn text(&mut self, name: &str, kind: Field, file: &str, read: impl FnOnce() -> Result<Vec<u8>, String>) {
        if kind == Field::Text && !self.draft.column(name) {
            // That it is there is known.
            return self.draft.set(name, b"");
        }
        match read() {
            Err(reason) => self.wrong(file, &reason),
            Ok(text) if kind != Field::Json => self.draft.set(name, fields::trimmed(&text)),
            Ok(text) => match serde_json::from_slice::<Value>(&text) {
                Ok(Value::Object(object)) => self.objects.push(object),
                Ok(_) => self.wrong(file, "holds no object"),
                Err(error) => self.wrong(file, &format!("is not JSON: {error}")),
            },
        }
    }

    /// Ends the row. What a file is stands; JSON only adds to it.
    pub(super) fn end(self) {
        let Self { draft, objects, broken } = self;
        objects.iter().for_each(|object| json::set_all(draft, object));
        match broken {
            Some(reason) => draft.end_broken_row(reason),
            None => draft.end_row(),
        }
    }
}

/// A file's path from the folder.
pub(super) fn inner<'a>(folder: &Path, file: &'a Path) -> &'a Path {
    file.strip_prefix(folder).unwrap_or(file)
}

/// True if pictures or sounds have texts of the same name beside them.
pub(super) fn has_samples(files: &[PathBuf]) -> bool {
    files.iter().filter(|file| Field::of_file(file).is_text()).any(|text| {
        let stem = text.with_extension("");
        let at = files.partition_point(|file| file.with_extension("") < stem);
        let near = at.saturating_sub(8)..files.len().min(at + 8);
        files[near].iter().any(|file| Field::of_file(file).modality().is_some() && file.with_extension("") == stem)
    })
}

/// Samples: the files of one name are a row, with a column for each ending.
pub(super) fn samples(path: &Path, files: &[PathBuf], wanted: &Wanted) -> Result<Table, DataError> {
    let mut samples: BTreeMap<PathBuf, Vec<&PathBuf>> = BTreeMap::new();
    for file in files.iter().filter(|file| Field::of_file(file) != Field::Other) {
        samples.entry(inner(path, file).with_extension("")).or_default().push(file);
    }
    // Those of texts alone are about the whole.
    samples.retain(|_, files| files.iter().any(|file| Field::of_file(file).modality().is_some()));
    let mut draft = Draft::new(path, "folder of samples", wanted);
    for (key, files) in samples {
        let mut sample = Sample::begin(&mut draft, key.as_os_str().as_encoded_bytes());
        for file in files {
            let (kind, ending, inner) = (Field::of_file(file), ending(file).unwrap_or_default(), inner(path, file));
            if let Some(modality) = kind.modality() {
                let cell = inner.as_os_str().as_encoded_bytes();
                [&*ending, modality].into_iter().for_each(|name| sample.draft.set(name, cell));
            } else {
                let name = inner.display().to_string();
                let read = || regular::read(file, fields::LONGEST).map_err(|error| format!("cannot be read: {error}"));
                sample.text(&ending, kind, &name, read);
            }
        }
        sample.end();
    }
    draft.table().roots = Roots::one(path);
    Ok(draft.whole())
}

/// Pictures or sounds in folders of classes, which may be in folders of splits.
pub(super) fn classes(path: &Path, files: &[PathBuf], wanted: &Wanted) -> Table {
    let mut draft = Draft::new(path, "folders of classes", wanted);
    for file in files.iter().filter(|file| Field::of_file(file).modality().is_some()) {
        let inner = inner(path, file);
        draft.set("file", inner.as_os_str().as_encoded_bytes());
        let mut folders: Vec<_> = inner.iter().map(|part| part.to_string_lossy()).collect();
        folders.pop();
        if folders.first().is_some_and(|first| SPLITS.contains(&&*first.to_lowercase())) {
            draft.set("split", folders.remove(0).as_bytes());
        }
        if let Some(class) = folders.last() {
            draft.set("label", class.as_bytes());
        }
        draft.end_row();
    }
    draft.table().roots = Roots::one(path);
    draft.whole()
}
