//! Filling the cache.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Error, Event, Session};
use crate::cache::Shelf;
use crate::dataset::{Column, Dataset, Items, Table};
use crate::encode::{self, EncodeError, Encoding, Forecast, Wanted};
use crate::plugin::{EncoderError, LoadedEncoder};

impl Session {
    /// The named column of a table, or the usual one for an encoder's items.
    pub fn column<'a>(
        &self,
        table: &'a Table,
        name: Option<&str>,
        encoder: &LoadedEncoder,
    ) -> Result<Column<'a>, Error> {
        Ok(match name {
            Some(name) => table.column(name)?,
            None => table.usual_column(encoder.description.modality.name())?,
        })
    }

    /// Encodes the `wanted` items of a column that the cache does not know. Latents encoded before an error are kept,
    /// so the error comes with the counts.
    pub fn encode(&self, column: Column<'_>, encoder: &Arc<LoadedEncoder>, wanted: Wanted) -> Result<Encoding, Error> {
        let shelf = self.shelf(encoder)?;
        self.fill(column, encoder, &shelf, wanted)
    }

    /// The forecast of encoding the `wanted` items of a column; none if it was stopped.
    pub fn forecast(
        &self,
        column: Column<'_>,
        encoder: &Arc<LoadedEncoder>,
        wanted: Wanted,
    ) -> Result<Option<Forecast>, Error> {
        self.forecast_items(items(column, encoder), column.source(), encoder, wanted.retry_failed)
    }

    /// The forecast of encoding some items of a file; none if it was stopped.
    pub(super) fn forecast_items(
        &self,
        items: Items<'_>,
        file: &Path,
        encoder: &LoadedEncoder,
        retry_failed: bool,
    ) -> Result<Option<Forecast>, Error> {
        drop(self.shared.budget.allow(encoder)?);
        let (shelf, files) = (self.shelf(encoder)?, self.files()?);
        let total = items.len();
        let forecast = encode::forecast(items, files, encoder, &shelf, retry_failed, &self.stop, &mut |done| {
            self.see(Event::Looking { file, done, total });
        });
        files.stamps.flush();
        self.see(Event::Ended);
        Ok(forecast?)
    }

    /// Encodes a column.
    pub(super) fn fill(
        &self,
        column: Column<'_>,
        encoder: &Arc<LoadedEncoder>,
        shelf: &Shelf,
        wanted: Wanted,
    ) -> Result<Encoding, Error> {
        let items = items(column, encoder);
        doubt(items, column, encoder);
        let encoding = self.fill_items(items, encoder, shelf, wanted)?;
        let (file, summary): (&Path, _) = (column.source(), &encoding.summary);
        let (naming, encoder) = (column.naming(), &encoder.name);
        self.see(Event::Encoded { file, column: column.name(), naming, encoder, summary });
        Ok(encoding)
    }

    pub(super) fn fill_items(
        &self,
        items: Items<'_>,
        encoder: &Arc<LoadedEncoder>,
        shelf: &Shelf,
        wanted: Wanted,
    ) -> Result<Encoding, Error> {
        let files = self.files()?;
        let turn = shelf.turn();
        let mut allowance = self.shared.budget.allow(encoder)?;
        let wanted =
            Wanted { max_cost: [wanted.max_cost, allowance.left()].into_iter().flatten().reduce(f64::min), ..wanted };
        let encoding = encode::encode(items, files, encoder, shelf, wanted, &self.stop, &mut |progress, waits| {
            self.see(Event::Encoding { encoder: &encoder.name, progress, waits });
        });
        allowance.spend(encoding.summary.cost);
        self.shared.encoded.fetch_or(encoding.summary.encoded > 0, Ordering::Relaxed);
        drop(allowance);
        drop(turn);
        files.stamps.flush();
        self.see(Event::Ended);
        if let Some(EncodeError::Encoder(EncoderError::Hang { .. })) = &encoding.error {
            self.forget(encoder);
        }
        Ok(encoding)
    }
}

/// The items that a column holds for an encoder.
pub(super) fn items<'a>(column: Column<'a>, encoder: &'a LoadedEncoder) -> Items<'a> {
    Items::new(column, &encoder.description.modality, encoder.description.items)
}

/// The items that a column holds for the first of a tower's encoders; none if they are latents.
pub(super) fn listed<'a>(
    file: &'a Dataset,
    column: &str,
    encoders: &'a [Arc<LoadedEncoder>],
) -> Result<Option<Items<'a>>, Error> {
    Ok(match (file, encoders.first()) {
        (Dataset::Table(table), Some(encoder)) => Some(items(table.column(column)?, encoder)),
        _ => None,
    })
}

/// An encoding that went through all of its items, or the error that ended it earlier.
pub(super) fn complete(mut encoding: Encoding) -> Result<Encoding, Error> {
    match encoding.error.take() {
        Some(error) => Err(error.into()),
        None if encoding.summary.stopped => Err(Error::Stopped),
        None if encoding.summary.bounded => Err(Error::Budget),
        None => Ok(encoding),
    }
}

/// Warns about a doubtful column.
fn doubt(items: Items<'_>, column: Column<'_>, encoder: &LoadedEncoder) {
    let (path, column) = (column.source().display(), column.name());
    if items.is_empty() {
        tracing::warn!("{path} has a header but no rows");
    }
    if let Some(doubt) = items.doubt() {
        let (name, modality) = (&encoder.name, &encoder.description.modality);
        let elsewhere = match items.are_files() {
            true => " Where the files are in another folder, name it with --root, or with `root` in a recipe",
            false => "",
        };
        tracing::warn!(
            "{path}: column `{column}` {doubt}; `{name}` takes {modality}; is this the right column?{elsewhere}"
        );
    }
}
