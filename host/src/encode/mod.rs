//! From a column of items to rows of the cache: what is not known is sent in batches, and stored as it comes back.

mod batches;
mod calls;
mod forecast;

use fusemix_sdk::ErrorKind;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use crate::cache::{CacheError, Key, Known, Store};
use crate::dataset::Items;
use crate::plugin::{EncoderError, LoadedEncoder, Services};
use batches::{Batch, Batches, Next, Sample, read_ahead};
use calls::{Answer, Calls};

pub use calls::call;
pub use forecast::{Forecast, forecast};

/// Chunks of items that are read while others are encoded.
const READ_AHEAD: usize = 2;
/// How long to wait for an answer before looking whether the user wants to stop.
const TICK: Duration = Duration::from_millis(100);

/// What stops an encoding. What was answered before is stored.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum EncodeError {
    #[error(transparent)]
    Encoder(#[from] EncoderError),
    #[error(transparent)]
    Cache(#[from] CacheError),
}

/// How far an encoding is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    /// Rows that need nothing more.
    pub done: usize,
    /// All rows.
    pub total: usize,
    /// Items encoded.
    pub encoded: usize,
    /// Items that failed.
    pub failed: usize,
}

/// What became of a column.
#[derive(Debug)]
pub struct Encoding {
    /// For each row, the item's key; `None` where it could not be read.
    pub keys: Vec<Option<Key>>,
    /// For each row, the row of its latent in the store; `None` where it has none.
    pub rows: Vec<Option<u64>>,
    /// The counts.
    pub summary: Summary,
}

/// Counts of an encoding, as `--json` prints them.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Rows of the column.
    pub rows: usize,
    /// Items that this run encoded.
    pub encoded: usize,
    /// Rows whose latent was there before.
    pub cached: usize,
    /// Rows with an item that an earlier row has too.
    pub duplicates: usize,
    /// Items encoded by this run of which the model read only the beginning.
    pub truncated: usize,
    /// Rows without a latent.
    pub failed: usize,
    /// Items that were not sent because they failed in an earlier run.
    pub remembered: usize,
    /// Items whose latent in the cache was damaged, so that they were sent again.
    pub damaged: usize,
    /// Items to which the encoder gave NaN or infinity in this run.
    pub not_finite: usize,
    /// The rows without a latent, in file order.
    pub failures: Vec<Failure>,
    /// What the encoder used in this run, by unit.
    pub usage: BTreeMap<String, f64>,
    /// What that cost, where the encoder has a price.
    pub cost: Option<f64>,
    /// Whether it was stopped before the end.
    pub stopped: bool,
    /// Whether it ended because more would have gone beyond its bounds.
    pub bounded: bool,
    /// Seconds from the first item read to the last latent stored.
    pub seconds: f64,
}

/// A row without a latent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The row, from 1; the header does not count.
    pub row: usize,
    /// The item: the start of the text, or the file.
    pub item: String,
    /// Why.
    pub reason: String,
}

/// What is to be encoded of a column.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// Items that failed in an earlier run too.
    pub retry_failed: bool,
    /// Items at the most.
    pub max_items: Option<usize>,
    /// No more than costs this, by the encoder's price and its measure of the items.
    pub max_cost: Option<f64>,
}

/// Encodes what is `wanted` of `items` and `store` does not know.
pub fn encode(
    items: Items<'_>,
    encoder: &Arc<LoadedEncoder>,
    store: &Store,
    wanted: Wanted,
    services: &Services,
    watch: &mut dyn FnMut(Progress),
) -> Result<Encoding, EncodeError> {
    let start = Instant::now();
    let (chunks, reads) = sync_channel(READ_AHEAD);
    let mut batches = Batches::new(reads, items.len(), encoder, store, wanted.retry_failed);
    let mut run = Run {
        encoder,
        store,
        services,
        wanted,
        failed: HashMap::new(),
        summary: Summary { rows: items.len(), ..Summary::default() },
        sent: 0,
        expected: 0.0,
        answered: 0,
        watch,
    };
    std::thread::scope(|scope| {
        scope.spawn(move || read_ahead(items, encoder.description.batch, chunks));
        let outcome = run.drive(&mut batches);
        // Nobody reads on for a run that has ended.
        batches.close();
        outcome
    })?;
    let rows = run.settle(items, &mut batches)?;
    run.summary.seconds = start.elapsed().as_secs_f64();
    Ok(Encoding { keys: batches.keys, rows, summary: run.summary })
}

struct Run<'a> {
    encoder: &'a Arc<LoadedEncoder>,
    store: &'a Store,
    services: &'a Services,
    wanted: Wanted,
    /// Items that failed in this run, and may work next time.
    failed: HashMap<Key, String>,
    summary: Summary,
    /// Items that were sent, and what those of them that have no answer yet will cost.
    sent: usize,
    expected: f64,
    /// Items with an answer.
    answered: usize,
    watch: &'a mut dyn FnMut(Progress),
}

impl Run<'_> {
    /// Sends what is not known.
    fn drive(&mut self, batches: &mut Batches<'_>) -> Result<(), EncodeError> {
        let mut calls = Calls::new(self.encoder.clone(), self.services.clone());
        let mut broken = None;
        while !self.ends(&calls) {
            let mut batch = match batches.next(&mut self.summary) {
                Ok(Next::Batch(batch)) => batch,
                Ok(Next::Later) => {
                    self.collect(&mut calls, Duration::ZERO, batches)?;
                    continue;
                }
                Ok(Next::End) => break,
                Err(error) => {
                    calls.close();
                    broken = Some(error);
                    break;
                }
            };
            if let Some(most) = self.wanted.max_items {
                let left = most.saturating_sub(self.sent);
                self.summary.bounded |= batch.samples.len() > left;
                batch.truncate(left);
            }
            while calls.is_full() && !self.ends(&calls) {
                self.collect(&mut calls, TICK, batches)?;
            }
            while !self.ends(&calls) && !self.affords(&batch) && calls.under_way() > 0 {
                // What is under way may cost less than expected.
                self.collect(&mut calls, TICK, batches)?;
            }
            if self.ends(&calls) {
                break;
            }
            if batch.samples.is_empty() || !self.affords(&batch) {
                self.summary.bounded = true;
                break;
            }
            self.sent += batch.samples.len();
            self.expected += self.cost(&batch);
            calls.start(batch);
            self.collect(&mut calls, Duration::ZERO, batches)?;
        }
        if self.ends(&calls) {
            calls.close();
        }
        // What the calls that run answer is kept, whatever happened to the others.
        while calls.under_way() > 0 {
            self.collect(&mut calls, TICK, batches)?;
            if self.ends(&calls) {
                calls.close();
            }
        }
        if let Some(error) = broken {
            return Err(error);
        }
        match calls.into_error() {
            Some(error) if error.kind() == Some(ErrorKind::Stopped) => self.summary.stopped = true,
            Some(error) => return Err(error.into()),
            None => self.summary.stopped = self.services.should_stop(),
        }
        Ok(())
    }

    fn ends(&self, calls: &Calls) -> bool {
        calls.failed() || self.services.should_stop()
    }

    /// What a batch will cost.
    fn cost(&self, batch: &Batch) -> f64 {
        let price = self.encoder.description.price.unwrap_or_default();
        price.of(batch.size.tokens as f64, batch.samples.len() as f64)
    }

    fn affords(&self, batch: &Batch) -> bool {
        let spent = self.summary.cost.unwrap_or(0.0) + self.expected;
        self.wanted.max_cost.is_none_or(|most| spent + self.cost(batch) <= most)
    }

    /// Waits no longer than `limit` for an answer, and stores all that are there in one durable step.
    fn collect(&mut self, calls: &mut Calls, limit: Duration, batches: &Batches<'_>) -> Result<(), EncodeError> {
        let mut answers = Vec::from_iter(calls.wait(limit));
        while let Some(answer) = calls.wait(Duration::ZERO) {
            answers.push(answer);
        }
        self.store(answers, calls)?;
        self.report(batches);
        Ok(())
    }

    /// Stores answers in one durable step.
    fn store(&mut self, answers: Vec<Answer>, calls: &mut Calls) -> Result<(), EncodeError> {
        if answers.is_empty() {
            return Ok(());
        }
        let mut expected =
            self.encoder.description.width.map_or_else(|| self.store.width(), |width| Ok(Some(width)))?;
        let mut latents: Vec<(Key, Vec<f32>)> = Vec::new();
        let mut failures: Vec<(Key, String)> = Vec::new();
        let mut truncated = 0;
        for Answer { batch, encoded } in answers {
            let foreseen = self.cost(&batch);
            self.expected -= foreseen;
            let widths = || encoded.outcomes.iter().flatten().map(|latent| latent.values.len());
            let width = expected.or_else(|| widths().next());
            if let Some(got) = widths().find(|&got| Some(got) != width) {
                let (encoder, expected) = (self.encoder.name.clone(), width.unwrap_or(0));
                calls.fail(EncoderError::Width { encoder, expected, got });
                continue;
            }
            expected = width;
            self.answered += batch.samples.len();
            if let Some(price) = self.encoder.description.price {
                // What an answer does not tell was measured before.
                let told = encoded.usage.get("tokens").map(|&tokens| price.of(tokens, batch.samples.len() as f64));
                *self.summary.cost.get_or_insert(0.0) += told.unwrap_or(foreseen);
            }
            for (unit, amount) in encoded.usage {
                *self.summary.usage.entry(unit).or_default() += amount;
            }
            for (Sample { key, .. }, outcome) in batch.samples.into_iter().zip(encoded.outcomes) {
                match outcome {
                    Ok(latent) => match latent.values.iter().position(|value| !value.is_finite()) {
                        Some(at) => {
                            self.summary.not_finite += 1;
                            let value = if latent.values[at].is_nan() { "NaN" } else { "infinity" };
                            let reason = format!("encoder `{}` gave {value} at position {at}", self.encoder.name);
                            failures.push((key, reason));
                        }
                        None => {
                            truncated += usize::from(latent.truncated);
                            latents.push((key, latent.values));
                        }
                    },
                    Err(error) if error.transient => {
                        self.failed.insert(key, error.message);
                    }
                    Err(error) => failures.push((key, error.message)),
                }
            }
        }
        let rows: Vec<(Key, &[f32])> = latents.iter().map(|(key, row)| (*key, row.as_slice())).collect();
        let reasons: Vec<(Key, &str)> = failures.iter().map(|(key, reason)| (*key, reason.as_str())).collect();
        self.store.append(&rows, &reasons)?;
        self.summary.encoded += latents.len();
        self.summary.truncated += truncated;
        Ok(())
    }

    fn report(&mut self, batches: &Batches<'_>) {
        let Summary { rows: total, encoded, cached, duplicates, .. } = self.summary;
        let done = batches.settled + self.answered;
        let failed = done - encoded - cached - duplicates;
        (self.watch)(Progress { done, total, encoded, failed });
    }

    /// The store's row for each row of the column; those that have none are listed in the summary.
    fn settle(&mut self, items: Items<'_>, batches: &mut Batches<'_>) -> Result<Vec<Option<u64>>, EncodeError> {
        let mut rows = Vec::with_capacity(items.len());
        for chunk in batches.keys.chunks(1 << 16) {
            let keys: Vec<Key> = chunk.iter().flatten().copied().collect();
            let mut known = self.store.known(&keys)?.into_iter();
            for key in chunk {
                let row = rows.len();
                let known = key.and_then(|_| known.next().flatten());
                let reason = match (key, known) {
                    (_, Some(Known::Row(at))) => {
                        rows.push(Some(at));
                        continue;
                    }
                    (_, Some(Known::Failed(reason))) => Some(reason),
                    (Some(key), _) => self.failed.get(key).cloned(),
                    (None, _) => batches.unread.remove(&row),
                };
                rows.push(None);
                // A row that a stopped run did not come to has no latent, and has not failed.
                if let Some(reason) = reason {
                    self.summary.failures.push(Failure { row: row + 1, item: items.name(row), reason });
                }
            }
        }
        self.summary.failed = self.summary.failures.len();
        Ok(rows)
    }
}
