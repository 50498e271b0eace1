//! Export of latents from the cache to a file.

use std::path::Path;
use std::sync::Arc;

use super::encode::complete;
use super::{Error, Session};
use crate::array_file::ArrayFile;
use crate::dataset::Column;
use crate::encode::{Encoding, Summary, Wanted};
use crate::latents::Latents;
use crate::plugin::LoadedEncoder;

/// A file of latents.
#[derive(Clone, Debug)]
pub struct Exported {
    /// Rows, including those without a latent.
    pub rows: usize,
    /// Values a row.
    pub width: usize,
    /// The counts of the encoding before it.
    pub summary: Summary,
}

impl Session {
    /// Writes the latents of a column to `out`, encoding missing ones; rows without a latent are NaN.
    pub fn export(&self, column: Column<'_>, encoder: &Arc<LoadedEncoder>, out: &Path) -> Result<Exported, Error> {
        let file = ArrayFile::create(out)?;
        let shelf = self.shelf(encoder)?;
        let Encoding { places, summary, .. } = complete(self.fill(column, encoder, &shelf, Wanted::placed())?)?;
        let no_latent = || Error::NoLatent { path: column.source().to_owned(), column: column.name().to_owned() };
        let width = shelf.width()?.ok_or_else(no_latent)?;
        let latents = shelf.latents(places.rows.iter().flatten().copied().collect())?;
        let mut written = file.begin("latents", width, places.rows.iter().map(Option::is_some).collect())?;
        let mut values = vec![0.0; width];
        for index in 0..latents.len() {
            latents.copy_row(index, &mut values);
            written.row(&values)?;
        }
        written.finish()?;
        Ok(Exported { rows: places.rows.len(), width, summary })
    }
}
