//! Embeddings of a column as a file.

use std::path::Path;

use super::Error;
use super::model::Model;
use super::towers::row_number;
use crate::array_file::{ArrayFile, Matrix};
use crate::dataset::{Dataset, Source};

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
    /// of the term against hubs or without, and with the ids of another column.
    pub fn embed_column(
        &self,
        tower: &str,
        data: impl Into<Source>,
        [column, id]: [Option<&str>; 2],
        (out, with_hubness): (&Path, bool),
    ) -> Result<EmbeddedColumn, Error> {
        let tower = self.tower(tower)?;
        let others = id.iter().map(|id| (*id).to_owned()).collect();
        let (file, column) = self.items_beside(tower, &data.into(), column, Some(others))?;
        let ids = match (id, &file) {
            (None, _) => None,
            (Some(id), Dataset::Table(table)) => Some(table.column(id)?.ids()?),
            (Some(id), Dataset::Precomputed(_)) => {
                return Err(Error::NoColumn { path: file.path().to_owned(), column: id.to_owned() });
            }
        };
        if let Some(at) = ids.as_ref().and_then(|ids| ids.iter().position(|id| id.is_empty())) {
            return Err(Error::EmptyId { path: file.path().to_owned(), row: row_number(&file, at) });
        }
        let out = ArrayFile::create(out, ids)?;
        let side = self.towers().side(tower, &file, &column)?;
        let present: Vec<bool> = side.keys.iter().map(Option::is_some).collect();
        let failed: Vec<usize> = (1..).zip(&present).filter(|(_, present)| !**present).map(|(row, _)| row).collect();
        let (rows, whole, shared) = (present.len(), self.space.width(), self.space.shared());
        let width = if with_hubness { whole } else { shared };
        let mut written = out.begin(Matrix { name: "embeddings", width, present })?;
        self.space.embed_chunks(tower, &*side.latents, &mut |chunk| {
            chunk.chunks(whole).try_for_each(|row| written.row(&row[..width]))?;
            if self.session.should_stop() { Err(Error::Stopped) } else { Ok(()) }
        })?;
        written.finish()?;
        Ok(EmbeddedColumn { rows, width, shared, failed })
    }
}
