//! Batches of the items that the cache does not know: look up, measure, pack.

use fusemix_sdk::{Description, Size};
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};

use super::column::ColumnRows;
use super::read::Read;
use super::{EncodeError, TICK};
use crate::cache::{Key, Known, Shelf};
use crate::plugin::{EncoderError, LoadedEncoder};

/// The most bytes of a batch, excluding its last item.
const BATCH_BYTES: u64 = 1 << 27;

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
    /// The size of all of them.
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

/// The next event of a column.
pub(super) enum Next {
    Batch(Batch),
    /// Nothing yet: time to handle running calls.
    Later,
    End,
}

/// The batches of a column.
pub(super) struct Batches<'a> {
    /// None once no more items are wanted.
    chunks: Option<Receiver<Vec<Read>>>,
    encoder: &'a LoadedEncoder,
    shelf: &'a Shelf,
    /// True if new latents will be stored.
    stores: bool,
    /// Items that are in no batch yet.
    pending: VecDeque<Sample>,
}

impl<'a> Batches<'a> {
    /// The batches of items that arrive in `chunks`.
    pub(super) fn new(chunks: Receiver<Vec<Read>>, encoder: &'a LoadedEncoder, shelf: &'a Shelf, stores: bool) -> Self {
        Self { chunks: Some(chunks), encoder, shelf, stores, pending: VecDeque::new() }
    }

    /// The next batch, after a short wait at most. Every row is recorded in `rows`.
    pub(super) fn next(&mut self, rows: &mut ColumnRows<'_>) -> Result<Next, EncodeError> {
        let packed = pack(&self.pending, &self.encoder.description);
        let Some(chunks) = self.chunks.as_ref().filter(|_| !packed.full) else {
            let batch = packed.take(&mut self.pending);
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
        let mut known = self.known(&chunk, rows)?.into_iter();
        let mut new = Vec::new();
        for read in chunk {
            match read {
                Read::Failed { row, reason } => rows.unread(row, reason),
                // It is known, and so it was not read.
                Read::Recognised { row, key, known } => drop(rows.read(row, key, Some(known))),
                Read::Whole { row, key, bytes } => {
                    if rows.read(row, key, known.next().flatten()) {
                        new.push((key, bytes));
                    }
                }
                // The earlier row is known, under way or done.
                Read::Again { row, key } => drop(rows.read(row, key, known.next().flatten())),
            }
        }
        self.pending.extend(samples(new, self.encoder)?);
        Ok(())
    }

    /// The cache's state of the items that were read. If one will be stored, the cache is opened for writing.
    fn known(&self, chunk: &[Read], rows: &mut ColumnRows<'_>) -> Result<Vec<Option<Known>>, EncodeError> {
        let whole = |read: &Read| match read {
            Read::Whole { key, .. } | Read::Again { key, .. } => Some(*key),
            _ => None,
        };
        let keys: Vec<Key> = chunk.iter().filter_map(whole).collect();
        let known = self.shelf.known(&keys)?;
        let all_known = known.iter().all(|known| rows.is_enough(known.as_ref()));
        if let Some(store) = self.shelf.written() {
            rows.begin(store.next_row());
        }
        if !self.stores || self.shelf.written().is_some() || all_known {
            return Ok(known);
        }
        let store = self.shelf.store()?;
        rows.begin(store.next_row());
        // Another process may have stored some before this one could.
        Ok(store.known(&keys)?)
    }
}

/// The number of first samples that make a batch.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Packed {
    pub(super) items: usize,
    pub(super) size: Size,
    /// True if nothing more fits.
    pub(super) full: bool,
}

impl Packed {
    /// The batch, out of the samples that were packed.
    pub(super) fn take(self, samples: &mut VecDeque<Sample>) -> Batch {
        Batch { samples: samples.drain(..self.items).collect(), size: self.size }
    }
}

/// Items with the encoder's measure of each.
pub(super) fn samples(
    items: Vec<(Key, Vec<u8>)>,
    encoder: &LoadedEncoder,
) -> Result<impl Iterator<Item = Sample>, EncoderError> {
    let bytes: Vec<&[u8]> = items.iter().map(|(_, bytes)| bytes.as_slice()).collect();
    let sizes = encoder.measure(&bytes)?;
    Ok(items.into_iter().zip(sizes).map(|((key, bytes), size)| Sample { key, bytes, size }))
}

pub(super) fn pack(samples: &VecDeque<Sample>, description: &Description) -> Packed {
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
