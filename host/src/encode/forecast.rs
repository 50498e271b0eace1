//! The forecast of an encoding's requests, cost and duration, before anything is sent.

use rayon::prelude::*;
use serde::Serialize;
use std::sync::mpsc::sync_channel;

use super::batches::{Batches, Next};
use super::column::{ColumnRows, Places};
use super::read::{Files, Reading};
use super::{EncodeError, READ_AHEAD};
use crate::cache::{Key, Shelf};
use crate::dataset::Items;
use crate::pairs::digest;
use crate::plugin::LoadedEncoder;
use crate::stop::Stop;

/// The forecast that `fusemix encode --dry-run` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Forecast {
    /// Rows of the column.
    pub rows: usize,
    /// The digest of the items, in their order.
    #[serde(skip)]
    pub digest: String,
    /// Distinct items.
    pub distinct: usize,
    /// Items whose latent is cached.
    pub cached: usize,
    /// Items that would not be sent because they failed before.
    pub remembered: usize,
    /// Rows that cannot be read.
    pub unreadable: usize,
    /// Items to send.
    pub items: usize,
    /// Batches that the items make.
    pub requests: usize,
    /// Tokens in the items, if the encoder counts or estimates them.
    pub tokens: u64,
    /// The cost of the items, if the encoder has a price.
    pub cost: Option<f64>,
    /// Minimum duration in seconds, if the encoder has a rate limit.
    pub seconds: Option<f64>,
}

/// Examines all `items` without sending any; none if it was stopped.
pub fn forecast(
    items: Items<'_>,
    files: Files<'_>,
    encoder: &LoadedEncoder,
    shelf: &Shelf,
    retry_failed: bool,
    stop: &Stop,
    watch: &mut dyn FnMut(usize),
) -> Result<Option<Forecast>, EncodeError> {
    let mut rows = ColumnRows::new(items, retry_failed, true);
    let mut forecast = Forecast { rows: items.len(), ..Forecast::default() };
    std::thread::scope(|scope| {
        // Whatever ends this closes the channel, and the reading with it.
        let (chunks, reads) = sync_channel(READ_AHEAD);
        let mut batches = Batches::new(reads, encoder, shelf, false);
        let reading = Reading { items, files, shelf, batch: encoder.description.batch, retry_failed };
        scope.spawn(move || reading.run(chunks));
        while !stop.is_asked() {
            match batches.next(&mut rows)? {
                Next::Batch(batch) => {
                    forecast.items += batch.samples.len();
                    forecast.requests += 1;
                    forecast.tokens += batch.size.tokens;
                }
                Next::Later => {}
                Next::End => break,
            }
            watch(rows.settled + forecast.items);
        }
        Ok::<_, EncodeError>(())
    })?;
    (forecast.remembered, forecast.unreadable) = (rows.remembered, rows.unreadable);
    let Places { keys, rows } = rows.end().1;
    forecast.digest = digest(&keys);
    let mut distinct: Vec<(Key, bool)> =
        keys.into_iter().zip(rows).filter_map(|(key, row)| Some((key?, row.is_some()))).collect();
    distinct.par_sort_unstable();
    distinct.dedup();
    forecast.distinct = distinct.len();
    forecast.cached = distinct.iter().filter(|(_, cached)| *cached).count();
    let price = encoder.description.price;
    forecast.cost = price.map(|price| price.of(forecast.tokens as f64, forecast.items as f64));
    let rate = encoder.description.rate;
    let minutes = |count: f64, a_minute: Option<f64>| Some(count / a_minute?);
    let minutes = [minutes(forecast.requests as f64, rate.requests), minutes(forecast.tokens as f64, rate.tokens)];
    forecast.seconds = minutes.into_iter().flatten().map(|minutes| 60.0 * minutes).reduce(f64::max);
    Ok((!stop.is_asked()).then_some(forecast))
}
