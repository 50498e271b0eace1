//! The gallery: embeddings with ids and metadata on disk, and search over them: exact, or by codes of many.
//!
//! ```text
//! GALLERY/gallery.json         width, dtype, columns and origin
//!         vectors-000000.f32   rows, raw little-endian, f32 or f16; a segment is filled up before the next begins
//!         items.jsonl          a line a row: ["id", metadata...]
//!         offsets              where each line ends, u64
//!         removed              rows that no longer count, u64
//!         log                  a record a commit: how much of each file counts, and checksums
//!         codes                a few bits of each vector, for approximate search; made anew as a whole
//!         lock                 held by the one writer
//! ```
//!
//! All files but gallery.json and codes are append-only. A commit writes and syncs everything else before its record, so data
//! beyond the last record's counts does not exist for readers, and the next commit overwrites it. Data that counts
//! never changes, so readers take no lock.

mod building;
mod codes;
mod error;
mod exhibit;
mod export;
mod file;
mod files;
mod ids;
mod info;
mod lines;
mod log;
mod origin;
mod row_set;
mod search;
mod snapshot;
mod stamp;
#[cfg(test)]
mod tests;
mod top;
mod vectors;
mod verify;
mod writer;

pub use crate::filter::Filter;
pub use building::{Building, check_place};
pub use codes::CodesInfo;
pub use error::GalleryError;
pub use exhibit::Exhibit;
pub use export::{ClipModality, Collection, ExportError, Exporting, Out, Shipped, Target};
pub use info::{Dtype, GalleryInfo};
pub use origin::Origin;
pub use snapshot::Gallery;
pub use top::Hit;
pub use writer::{Appended, Removal, Writer};
