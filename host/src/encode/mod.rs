//! From a column of items to rows of the cache: read ahead, skip what is known, batch, call, store.

mod calls;

use fusemix_sdk::ErrorKind;
use rayon::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use crate::cache::{CacheError, Key, Known, Store};
use crate::dataset::Items;
use crate::plugin::{EncoderError, LoadedEncoder, Services};
use calls::{Answer, Calls, Sample};

pub use calls::call;

/// Rows, and bytes but for the last items, that are read before they are handed on; two such chunks wait.
const CHUNK: (usize, usize) = (256, 1 << 26);
/// Bytes of a batch, but for its last item.
const BATCH_BYTES: usize = 1 << 27;
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
    /// Whether it was stopped before the end.
    pub stopped: bool,
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

/// An item as it comes from the reading threads.
struct Read {
    row: usize,
    item: Result<(Key, Vec<u8>), String>,
}

/// Encodes what `store` does not know of `items`; failures that it remembers are tried again if `retry_failed`.
pub fn encode(
    items: Items<'_>,
    encoder: &Arc<LoadedEncoder>,
    store: &Store,
    retry_failed: bool,
    services: &Services,
    watch: &mut dyn FnMut(Progress),
) -> Result<Encoding, EncodeError> {
    let start = Instant::now();
    let mut run = Run {
        encoder,
        store,
        keys: vec![None; items.len()],
        failed: HashMap::new(),
        unread: HashMap::new(),
        summary: Summary { rows: items.len(), ..Summary::default() },
        done: 0,
        watch,
    };
    let stopped = std::thread::scope(|scope| {
        let rows = encoder.description.batch.min(CHUNK.0);
        let (chunks, reads) = sync_channel::<Vec<Read>>(2);
        scope.spawn(move || read_ahead(items, rows, chunks));
        run.drive(reads.into_iter(), retry_failed, services)
    })?;
    run.summary.stopped = stopped;
    let rows = run.settle(items)?;
    run.summary.seconds = start.elapsed().as_secs_f64();
    Ok(Encoding { keys: run.keys, rows, summary: run.summary })
}

/// Reads items on all cores, in order, `most` to a chunk, until nobody listens any more.
fn read_ahead(items: Items<'_>, most: usize, chunks: SyncSender<Vec<Read>>) {
    let read = |row| {
        let item = items.read(row).map(|bytes| (Key::of(items.modality(), &bytes), bytes.into_owned()));
        Read { row, item }
    };
    let at_once = 2 * rayon::current_num_threads();
    let (mut next, mut chunk, mut bytes) = (0, Vec::new(), 0);
    while next < items.len() {
        let rows = next..items.len().min(next + at_once.min(most - chunk.len()));
        next = rows.end;
        chunk.par_extend(rows.clone().into_par_iter().map(read));
        bytes += chunk[chunk.len() - rows.len()..]
            .iter()
            .flat_map(|read| &read.item)
            .map(|item| item.1.len())
            .sum::<usize>();
        if chunk.len() == most || bytes >= CHUNK.1 || next == items.len() {
            if chunks.send(std::mem::take(&mut chunk)).is_err() {
                return;
            }
            bytes = 0;
        }
    }
}

/// Items for a call.
#[derive(Default)]
struct Batch {
    samples: Vec<Sample>,
    bytes: usize,
}

impl Batch {
    fn push(&mut self, sample: Sample) {
        self.bytes += sample.bytes.len();
        self.samples.push(sample);
    }

    /// Whether it has `most` items, or as many bytes as should be in memory.
    fn is_full(&self, most: usize) -> bool {
        self.samples.len() >= most || self.bytes >= BATCH_BYTES
    }
}

struct Run<'a> {
    encoder: &'a Arc<LoadedEncoder>,
    store: &'a Store,
    keys: Vec<Option<Key>>,
    /// Items that failed in this run, and may work next time.
    failed: HashMap<Key, String>,
    /// Rows that could not be read.
    unread: HashMap<usize, String>,
    summary: Summary,
    done: usize,
    watch: &'a mut dyn FnMut(Progress),
}

impl Run<'_> {
    /// Sends what is not known; returns whether the user stopped it.
    fn drive(
        &mut self,
        chunks: impl Iterator<Item = Vec<Read>>,
        retry_failed: bool,
        services: &Services,
    ) -> Result<bool, EncodeError> {
        let mut calls = Calls::new(self.encoder.clone());
        let mut batch = Batch::default();
        let mut seen = HashSet::new();
        for chunk in chunks {
            let keys: Vec<Key> = chunk.iter().filter_map(|read| Some(read.item.as_ref().ok()?.0)).collect();
            let mut known = self.store.known(&keys)?.into_iter();
            for Read { row, item } in chunk {
                let (key, bytes) = match item {
                    Ok(item) => item,
                    Err(reason) => {
                        self.unread.insert(row, reason);
                        self.advance(1);
                        continue;
                    }
                };
                self.keys[row] = Some(key);
                let known = known.next().flatten();
                if !seen.insert(key) {
                    self.summary.duplicates += 1;
                    self.advance(1);
                } else if matches!(known, Some(Known::Row(_))) {
                    self.summary.cached += 1;
                    self.advance(1);
                } else if matches!(known, Some(Known::Failed(_))) && !retry_failed {
                    self.summary.remembered += 1;
                    self.advance(1);
                } else {
                    self.summary.damaged += usize::from(matches!(known, Some(Known::Damaged)));
                    batch.push(Sample { key, bytes });
                }
                if batch.is_full(self.encoder.description.batch) {
                    self.call(&mut calls, std::mem::take(&mut batch), services)?;
                }
                if services.should_stop() || calls.failed() {
                    return self.finish(calls, services);
                }
            }
            self.report();
        }
        if !batch.samples.is_empty() {
            self.call(&mut calls, batch, services)?;
        }
        self.finish(calls, services)
    }

    /// Starts a call once there is room for it, unless the encoding is to end; then stores what was answered meanwhile, so
    /// that the encoder does not wait for the disk.
    fn call(&mut self, calls: &mut Calls, batch: Batch, services: &Services) -> Result<(), EncodeError> {
        let mut answers = Vec::new();
        let ends = |calls: &Calls| calls.failed() || services.should_stop();
        while calls.running() == self.encoder.description.concurrency && !ends(calls) {
            answers.extend(calls.wait(TICK));
            self.report();
        }
        if !ends(calls) {
            calls.start(batch.samples);
        }
        while let Some(answer) = calls.wait(Duration::ZERO) {
            answers.push(answer);
        }
        self.store(answers, calls)
    }

    /// Waits for the calls that are still running: what they answer is kept, whatever happened to the others.
    fn finish(&mut self, mut calls: Calls, services: &Services) -> Result<bool, EncodeError> {
        while calls.running() > 0 {
            self.collect(&mut calls)?;
        }
        match calls.into_error() {
            Some(error) if error.kind() == Some(ErrorKind::Stopped) => Ok(true),
            Some(error) => Err(error.into()),
            None => Ok(services.should_stop()),
        }
    }

    /// Waits a moment for an answer and stores it.
    fn collect(&mut self, calls: &mut Calls) -> Result<(), EncodeError> {
        let answers = calls.wait(TICK).into_iter().collect();
        self.store(answers, calls)?;
        self.report();
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
        let (mut truncated, mut answered) = (0, 0);
        for Answer { samples, encoded } in answers {
            let widths = || encoded.outcomes.iter().flatten().map(|latent| latent.values.len());
            let width = expected.or_else(|| widths().next());
            if let Some(got) = widths().find(|&got| Some(got) != width) {
                let (encoder, expected) = (self.encoder.name.clone(), width.unwrap_or(0));
                calls.fail(EncoderError::Width { encoder, expected, got });
                continue;
            }
            expected = width;
            answered += samples.len();
            for (unit, amount) in encoded.usage {
                *self.summary.usage.entry(unit).or_default() += amount;
            }
            for (Sample { key, .. }, outcome) in samples.into_iter().zip(encoded.outcomes) {
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
        self.advance(answered);
        Ok(())
    }

    fn advance(&mut self, rows: usize) {
        self.done += rows;
    }

    fn report(&mut self) {
        let Summary { rows: total, encoded, cached, duplicates, .. } = self.summary;
        let failed = self.done - encoded - cached - duplicates;
        (self.watch)(Progress { done: self.done, total, encoded, failed });
    }

    /// The store's row for each row of the column; those that have none are listed in the summary.
    fn settle(&mut self, items: Items<'_>) -> Result<Vec<Option<u64>>, EncodeError> {
        let mut rows = Vec::with_capacity(self.keys.len());
        for chunk in self.keys.chunks(1 << 16) {
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
                    (None, _) => self.unread.remove(&row),
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
