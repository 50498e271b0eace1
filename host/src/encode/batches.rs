//! From a column of items to batches of those that the cache does not know: read ahead, look up, measure, pack.

use fusemix_sdk::{Description, Size};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};

use super::column::ColumnRows;
use super::{EncodeError, TICK};
use crate::cache::{Key, Store};
use crate::dataset::Items;
use crate::plugin::LoadedEncoder;

/// Rows, and bytes but for the last items, that are read before they are handed on; two such chunks wait.
const CHUNK: (usize, usize) = (256, 1 << 26);
/// Bytes of a batch, but for its last item.
const BATCH_BYTES: u64 = 1 << 27;

/// An item as it comes from the reading threads.
pub(super) struct Read {
    row: usize,
    item: Result<(Key, Vec<u8>), String>,
}

/// Reads items on all cores, in order, until nobody listens any more; at most `batch` of them to a chunk.
pub(super) fn read_ahead(items: Items<'_>, batch: usize, chunks: SyncSender<Vec<Read>>) {
    let read = |row| {
        let item = items.read(row).map(|bytes| (Key::of(items.modality(), &bytes), bytes.into_owned()));
        Read { row, item }
    };
    let most = batch.min(CHUNK.0);
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

/// An item on its way to the encoder.
#[derive(Clone)]
pub(super) struct Sample {
    pub(super) key: Key,
    pub(super) bytes: Vec<u8>,
    pub(super) size: Size,
}

/// Items for a call.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) samples: Vec<Sample>,
    /// Of all of them.
    pub(super) size: Size,
}

impl Batch {
    /// The first `items` of them.
    pub(super) fn truncate(&mut self, items: usize) {
        for Sample { size, .. } in self.samples.drain(items.min(self.samples.len())..) {
            self.size.bytes -= size.bytes;
            self.size.tokens -= size.tokens;
        }
    }
}

impl FromIterator<Sample> for Batch {
    fn from_iter<I: IntoIterator<Item = Sample>>(samples: I) -> Self {
        let samples: Vec<Sample> = samples.into_iter().collect();
        let sum = |of: fn(&Size) -> u64| samples.iter().map(|sample| of(&sample.size)).sum();
        let size = Size::new(sum(|size| size.bytes), sum(|size| size.tokens));
        Self { samples, size }
    }
}

/// What comes next of a column.
pub(super) enum Next {
    Batch(Batch),
    /// Nothing yet: there is time to look after what is under way.
    Later,
    End,
}

/// The batches of a column.
pub(super) struct Batches<'a> {
    /// None once they are of no interest.
    chunks: Option<Receiver<Vec<Read>>>,
    encoder: &'a LoadedEncoder,
    store: &'a Store,
    /// Items that are in no batch yet.
    pending: VecDeque<Sample>,
}

impl<'a> Batches<'a> {
    /// Of items that come in `chunks`.
    pub(super) fn new(chunks: Receiver<Vec<Read>>, encoder: &'a LoadedEncoder, store: &'a Store) -> Self {
        Self { chunks: Some(chunks), encoder, store, pending: VecDeque::new() }
    }

    /// The next batch, after no more than a moment. `rows` learns of every row.
    pub(super) fn next(&mut self, rows: &mut ColumnRows<'_>) -> Result<Next, EncodeError> {
        let packed = pack(&self.pending, &self.encoder.description);
        let Some(chunks) = self.chunks.as_ref().filter(|_| !packed.full) else {
            let samples: Vec<Sample> = self.pending.drain(..packed.items).collect();
            let batch = Batch { samples, size: packed.size };
            return Ok(if batch.samples.is_empty() { Next::End } else { Next::Batch(batch) });
        };
        match chunks.recv_timeout(TICK) {
            Ok(chunk) => self.take(chunk, rows)?,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.close(),
        }
        Ok(Next::Later)
    }

    /// Takes no more items.
    pub(super) fn close(&mut self) {
        self.chunks = None;
    }

    fn take(&mut self, chunk: Vec<Read>, rows: &mut ColumnRows<'_>) -> Result<(), EncodeError> {
        let keys: Vec<Key> = chunk.iter().filter_map(|read| Some(read.item.as_ref().ok()?.0)).collect();
        let mut known = self.store.known(&keys)?.into_iter();
        let mut new = Vec::new();
        for Read { row, item } in chunk {
            match item {
                Err(reason) => rows.unread(row, reason),
                Ok((key, bytes)) => {
                    if rows.read(row, key, known.next().flatten()) {
                        new.push((key, bytes));
                    }
                }
            }
        }
        let items: Vec<&[u8]> = new.iter().map(|(_, bytes)| bytes.as_slice()).collect();
        let sizes = self.encoder.measure(&items)?;
        self.pending.extend(new.into_iter().zip(sizes).map(|((key, bytes), size)| Sample { key, bytes, size }));
        Ok(())
    }
}

/// How many of the first samples make a batch.
#[derive(Debug, Default, PartialEq)]
struct Packed {
    items: usize,
    size: Size,
    /// Whether nothing more fits in.
    full: bool,
}

fn pack(samples: &VecDeque<Sample>, description: &Description) -> Packed {
    let within = |sum: u64, most: Option<u64>| most.is_none_or(|most| sum <= most);
    let mut packed = Packed::default();
    for Sample { size, .. } in samples {
        let Size { bytes: sum, tokens, .. } = packed.size;
        let size = Size::new(sum + size.bytes, tokens + size.tokens);
        let fits = within(size.bytes, description.limits.bytes) && within(size.tokens, description.limits.tokens);
        if packed.items > 0 && !fits {
            return Packed { full: true, ..packed };
        }
        packed = Packed { items: packed.items + 1, size, full: false };
        if packed.items >= description.batch || size.bytes >= BATCH_BYTES || !fits {
            return Packed { full: true, ..packed };
        }
    }
    packed
}

#[cfg(test)]
mod tests {
    use fusemix_sdk::{Limits, Modality};

    use super::*;

    fn packed(sizes: &[(u64, u64)], description: &Description) -> (usize, bool) {
        let sample = |&(bytes, tokens): &(u64, u64)| {
            let size = Size::new(bytes, tokens);
            Sample { key: Key([0; 32]), bytes: Vec::new(), size }
        };
        let Packed { items, full, .. } = pack(&sizes.iter().map(sample).collect(), description);
        (items, full)
    }

    #[test]
    fn a_batch_is_full_with_items_or_bytes_or_tokens() {
        let limits = Limits::new(Some(100), Some(10));
        let description = Description::new(Modality::Text, 4).batch(3).limits(limits);
        assert_eq!(packed(&[], &description), (0, false));
        assert_eq!(packed(&[(1, 1); 2], &description), (2, false));
        assert_eq!(packed(&[(1, 1); 5], &description), (3, true));
        assert_eq!(packed(&[(60, 1), (40, 1), (1, 1)], &description), (2, true));
        assert_eq!(packed(&[(1, 5), (1, 6)], &description), (1, true));
        // What is too large for any batch comes alone: the encoder says what is wrong with it.
        assert_eq!(packed(&[(1000, 1), (1, 1)], &description), (1, true));
        assert_eq!(packed(&[(1, 1), (1000, 1)], &description), (1, true));
    }
}
