//! gallery.json: the description of a gallery, written once.

use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::str::FromStr;

use super::{GalleryError, Origin};
use crate::whole_file;

/// The file's name.
pub(super) const FILE: &str = "gallery.json";
/// What a run has, and no gallery.
const RUN: &str = "run.json";
/// The format that the file declares.
const FORMAT: &str = "fusemix gallery";
/// The field with the checksum of all others.
const SUM: &str = "checksum";
/// The newest version of the format that this program knows.
const VERSION: u32 = 2;
/// Values of 8 bits that have a factor of their own: a value that is larger than all others costs only its neighbours.
pub(super) const BLOCK: usize = 32;
/// Bytes of such a factor.
pub(super) const FACTOR: usize = 4;
/// The most bytes that a segment of vectors holds.
const SEGMENT: usize = 1 << 30;

/// The storage format of vectors' values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    /// 32 bits.
    #[default]
    F32,
    /// 16 bits: half the disk, memory and reading, and scores with 3 decimal digits.
    F16,
    /// 8 bits, and a factor for each 32 values: 0.28 of f32, and scores with 2 decimal digits.
    I8,
}

impl Dtype {
    /// Bytes of a vector of `width` values.
    pub(super) fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::F32 => 4 * width,
            Self::F16 => 2 * width,
            Self::I8 => width + FACTOR * width.div_ceil(BLOCK),
        }
    }

    /// Its name, which is also the file extension of segments.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::I8 => "i8",
        }
    }
}

impl FromStr for Dtype {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        [Self::F32, Self::F16, Self::I8].into_iter().find(|dtype| dtype.name() == text).ok_or("choose f32, f16 or i8")
    }
}

/// The description of a gallery's contents.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GalleryInfo {
    /// Values a vector.
    pub width: usize,
    /// Their storage format.
    pub dtype: Dtype,
    /// Names of the metadata columns, in the order of an exhibit's metadata.
    pub columns: Vec<String>,
    /// The column of a table with the items, if they came from one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item_column: Option<String>,
    /// The column of a table with the ids, if it is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_column: Option<String>,
    /// The origin of the vectors.
    pub origin: Origin,
}

/// gallery.json as it is written.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    version: u32,
    /// Rows of a full segment.
    pub(super) segment: usize,
    #[serde(flatten)]
    pub(super) info: GalleryInfo,
}

impl Header {
    /// A header for a new gallery, with as many rows per segment as fit.
    pub(super) fn new(info: GalleryInfo) -> Result<Self, GalleryError> {
        let refuse = |what| Err(GalleryError::Info { what });
        if info.width == 0 || info.width > SEGMENT / 4 {
            return refuse(format!("a gallery cannot hold vectors of {} values", info.width));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = info.columns.iter().find(|name| !names.insert(name.as_str())) {
            return refuse(format!("two metadata columns are called `{twice}`"));
        }
        if names.contains("") {
            return refuse("a metadata column has no name".to_owned());
        }
        // What an older program can read, it may.
        let version = if info.dtype == Dtype::I8 { VERSION } else { 1 };
        Ok(Self { format: FORMAT.to_owned(), version, segment: SEGMENT / row_bytes(&info), info })
    }

    pub(super) fn read(folder: &Path) -> Result<Self, GalleryError> {
        let path = folder.join(FILE);
        let text = fs::read_to_string(&path).map_err(|cause| match cause.kind() {
            ErrorKind::NotFound => GalleryError::Absent { path: folder.to_owned(), is_run: folder.join(RUN).exists() },
            _ => GalleryError::io("read", &path, cause),
        })?;
        // A newer format may have other keys, so its number is read first.
        let wrong = |cause: serde_json::Error| GalleryError::damaged(&path, cause.to_string());
        let mut json: serde_json::Value = serde_json::from_str(&text).map_err(wrong)?;
        if json["format"] != FORMAT {
            return Err(GalleryError::damaged(&path, format!("its format is not \"{FORMAT}\"")));
        }
        let version = json["version"].as_u64().unwrap_or(0) as u32;
        if version > VERSION {
            return Err(GalleryError::Newer { path, version });
        }
        let sum = json.as_object_mut().and_then(|fields| fields.remove(SUM));
        let is_whole = sum.is_none_or(|sum| sum == checksum(&json));
        let header: Self = serde_json::from_value(json).map_err(wrong)?;
        let most = Self::new(header.info.clone()).map_err(|error| GalleryError::damaged(&path, error.to_string()))?;
        if header.segment == 0 || header.segment > most.segment {
            return Err(GalleryError::damaged(&path, format!("a segment cannot hold {} rows", header.segment)));
        }
        if is_whole { Ok(header) } else { Err(GalleryError::damaged(&path, "it does not match its checksum")) }
    }

    pub(super) fn write(&self, folder: &Path) -> Result<(), GalleryError> {
        let path = folder.join(FILE);
        let mut json = serde_json::to_value(self).expect("all keys are text");
        json[SUM] = checksum(&json).into();
        let json = format!("{json:#}\n");
        whole_file::write(&path, json.as_bytes()).map_err(|cause| GalleryError::io("write", &path, cause))
    }

    pub(super) fn row_bytes(&self) -> usize {
        row_bytes(&self.info)
    }
}

/// A checksum of the other fields, whatever their order.
fn checksum(fields: &serde_json::Value) -> String {
    let mut sorted = fields.clone();
    sorted.sort_all_objects();
    blake3::hash(sorted.to_string().as_bytes()).to_hex()[..16].to_owned()
}

fn row_bytes(info: &GalleryInfo) -> usize {
    info.dtype.row_bytes(info.width)
}
