//! A gallery in the forms that other software takes: a file that it opens, or points that it is sent.

mod clip_retrieval;
mod columns;
mod error;
mod faiss;
mod items;
mod jsonl;
mod out;
mod parquet;
mod pgvector;
mod qdrant;
mod raw_rows;

use std::path::PathBuf;

pub use clip_retrieval::ClipModality;
pub use error::ExportError;
pub use out::Out;
pub use qdrant::Collection;

use super::{Exhibit, Filter, Gallery};
use crate::array_file::npy_header;
use crate::stop::Stop;

/// Bytes of vectors that are on their way at once.
const BATCH: usize = 4 << 20;

/// The form and the place of an export.
#[derive(Clone, Debug)]
pub enum Target {
    /// A .parquet file: `id`, the metadata, and the vectors as `FixedSizeList<f32>`. Arrow, DuckDB, Polars, LanceDB and
    /// Milvus read it.
    Parquet {
        /// The file.
        path: PathBuf,
        /// The column with the vectors.
        vector: String,
    },
    /// A .npy file with a row a vector, and `OUT.items.jsonl` with an item a line.
    Npy {
        /// The file.
        path: PathBuf,
    },
    /// A flat index of faiss by inner product, and `OUT.items.jsonl` with an item a line, in the order of its ids.
    Faiss {
        /// The file.
        path: PathBuf,
    },
    /// The folder that `clip-retrieval index` takes.
    ClipRetrieval {
        /// The folder.
        path: PathBuf,
        /// The kind of the items.
        modality: ClipModality,
    },
    /// A JSON object a line: `id`, the metadata, and the vector as a list.
    Jsonl {
        /// The place.
        out: Out,
        /// The key of the vector.
        vector: String,
    },
    /// SQL for `psql`, which makes a table with a pgvector column, or brings one up to date, by COPY.
    Pgvector {
        /// The place.
        out: Out,
        /// The table, which may have a schema: `public.items`.
        table: String,
        /// The column with the vectors.
        vector: String,
    },
    /// Points of a collection of Qdrant.
    Qdrant(Collection),
}

/// What an export has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shipped {
    /// Items that were written or sent.
    pub items: usize,
    /// Items that were there already, the same.
    pub unchanged: usize,
}

/// Items, each with its vector, row by row.
struct Batch {
    exhibits: Vec<Exhibit>,
    vectors: Vec<f32>,
}

/// A form that takes the items of a gallery in their order.
trait Sink {
    /// Takes the next items, and gives the number of those that were there already.
    fn take(&mut self, batch: Batch) -> Result<usize, ExportError>;

    /// Makes the whole appear.
    fn finish(self: Box<Self>) -> Result<(), ExportError>;
}

/// An export under way.
pub struct Exporting<'a> {
    gallery: &'a Gallery,
    rows: Vec<usize>,
    done: usize,
    batch: usize,
    sink: Box<dyn Sink>,
    shipped: Shipped,
}

impl<'a> Exporting<'a> {
    /// Begins to export the items that a filter keeps. Files are opened, and servers asked, before this returns. A wait
    /// for a server ends when the flag is raised.
    pub fn begin(
        gallery: &'a Gallery,
        filter: Option<&Filter>,
        target: &Target,
        stop: &Stop,
    ) -> Result<Self, ExportError> {
        gallery.check_counted()?;
        let rows = match filter {
            Some(filter) => gallery.filtered(filter)?,
            None => gallery.rows().collect(),
        };
        let (info, count) = (gallery.info(), rows.len());
        let mut batch = (BATCH / (4 * info.width)).clamp(1, 4096);
        let sink: Box<dyn Sink> = match target {
            Target::Parquet { path, vector } => Box::new(parquet::Sink::begin(gallery, &rows, path, vector)?),
            Target::Npy { path } => Box::new(raw_rows::Sink::begin(info, &npy_header(count, info.width), path)?),
            Target::Faiss { path } => Box::new(raw_rows::Sink::begin(info, &faiss::header(count, info.width), path)?),
            Target::ClipRetrieval { path, modality } => {
                Box::new(clip_retrieval::Sink::begin(gallery, &rows, path, *modality)?)
            }
            Target::Jsonl { out, vector } => Box::new(jsonl::Sink::begin(info, out, vector)?),
            Target::Pgvector { out, table, vector } => {
                Box::new(pgvector::Sink::begin(gallery, &rows, out, table, vector)?)
            }
            Target::Qdrant(collection) => {
                batch = batch.min(qdrant::POINTS);
                Box::new(qdrant::Sink::begin(info, collection, stop)?)
            }
        };
        Ok(Self { gallery, rows, done: 0, batch, sink, shipped: Shipped::default() })
    }

    /// All items.
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    /// Exports the next items; the number of those that are done, or none after the last.
    pub fn step(&mut self) -> Result<Option<usize>, ExportError> {
        let rows = &self.rows[self.done..self.rows.len().min(self.done + self.batch)];
        if rows.is_empty() {
            return Ok(None);
        }
        let exhibits = rows.iter().map(|&row| self.gallery.exhibit(row)).collect::<Result<_, _>>()?;
        let mut vectors = Vec::with_capacity(rows.len() * self.gallery.info().width);
        for &row in rows {
            let vector = self.gallery.vector(row)?;
            if vector.iter().any(|value| !value.is_finite()) {
                return Err(self.gallery.impossible(super::Hit { row, score: f32::NAN }).into());
            }
            vectors.extend(vector);
        }
        let unchanged = self.sink.take(Batch { exhibits, vectors })?;
        self.done += rows.len();
        self.shipped.items += rows.len() - unchanged;
        self.shipped.unchanged += unchanged;
        Ok(Some(self.done))
    }

    /// Makes the whole appear.
    pub fn finish(self) -> Result<Shipped, ExportError> {
        self.sink.finish()?;
        Ok(self.shipped)
    }
}

/// An error if a metadata column has the name that the vectors are to have.
fn free(columns: &[String], vector: &str) -> Result<(), ExportError> {
    match vector == "id" || columns.iter().any(|column| column == vector) {
        true => Err(ExportError::Taken { column: vector.to_owned() }),
        false => Ok(()),
    }
}
