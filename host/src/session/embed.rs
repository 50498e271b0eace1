//! Embeddings of a column as a file.

use std::path::Path;

use super::Error;
use super::model::Model;
use crate::array_file::ArrayFile;
use crate::dataset::Dataset;

/// A file of embeddings.
#[derive(Clone, Debug)]
pub struct EmbeddedColumn {
    /// Rows, including those without an embedding.
    pub rows: usize,
    /// Values a row.
    pub width: usize,
    /// The first of them, which are of length 1; the rest are those of the term against hubs.
    pub shared: usize,
    /// Rows without an embedding, from 1.
    pub failed: Vec<usize>,
}

impl Model {
    /// Writes the embeddings of a column to `out`, in file order, with failed rows as NaN and listed; with the values
    /// of the term against hubs or without.
    pub fn embed_column(
        &self,
        tower: &str,
        data: &Path,
        column: Option<&str>,
        (out, with_hubness): (&Path, bool),
    ) -> Result<EmbeddedColumn, Error> {
        let tower = self.tower(tower)?;
        let file = Dataset::open(data)?;
        let column = self.column(tower, &file, column)?;
        let out = ArrayFile::create(out)?;
        let side = self.towers().side(tower, &file, &column)?;
        let present: Vec<bool> = side.keys.iter().map(Option::is_some).collect();
        let failed: Vec<usize> = (1..).zip(&present).filter(|(_, present)| !**present).map(|(row, _)| row).collect();
        let (rows, whole, shared) = (present.len(), self.space.width(), self.space.shared());
        let width = if with_hubness { whole } else { shared };
        let mut written = out.begin("embeddings", width, present)?;
        self.space.embed_chunks(tower, &*side.latents, &mut |chunk| {
            chunk.chunks(whole).try_for_each(|row| written.row(&row[..width]))?;
            if self.session.should_stop() { Err(Error::Stopped) } else { Ok(()) }
        })?;
        written.finish()?;
        Ok(EmbeddedColumn { rows, width, shared, failed })
    }
}
