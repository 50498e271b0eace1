//! Calls of an encoder, several at once, each on a thread of its own and under a time limit.

use fusemix_sdk::{Encoded, Item};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use crate::cache::Key;
use crate::plugin::{EncoderError, LoadedEncoder};

/// An item on its way to the encoder.
pub(super) struct Sample {
    pub key: Key,
    pub bytes: Vec<u8>,
}

/// What a call came back with: an outcome for each sample.
pub(super) struct Answer {
    pub samples: Vec<Sample>,
    pub encoded: Encoded,
}

type Reply = (u64, Vec<Sample>, Result<Encoded, EncoderError>);

/// One call, under the encoder's time limit.
pub fn call(encoder: &Arc<LoadedEncoder>, items: Vec<Vec<u8>>) -> Result<Encoded, EncoderError> {
    let mut calls = Calls::new(encoder.clone());
    let key = |bytes: &[u8]| Key::of(&encoder.description.modality, bytes);
    calls.start(items.into_iter().map(|bytes| Sample { key: key(&bytes), bytes }).collect());
    loop {
        if let Some(answer) = calls.wait(encoder.time_limit) {
            return Ok(answer.encoded);
        }
        if let Some(error) = calls.error.take() {
            return Err(error);
        }
    }
}

/// The calls that are running, and the first error among those that have ended.
pub(super) struct Calls {
    encoder: Arc<LoadedEncoder>,
    next: u64,
    /// (call, when it counts as hung)
    running: Vec<(u64, Instant)>,
    error: Option<EncoderError>,
    sender: Sender<Reply>,
    replies: Receiver<Reply>,
}

impl Calls {
    pub(super) fn new(encoder: Arc<LoadedEncoder>) -> Self {
        let (sender, replies) = channel();
        Self { encoder, next: 0, running: Vec::new(), error: None, sender, replies }
    }

    pub(super) fn running(&self) -> usize {
        self.running.len()
    }

    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    pub(super) fn into_error(self) -> Option<EncoderError> {
        self.error
    }

    /// Remembers what went wrong, unless something did before.
    pub(super) fn fail(&mut self, error: EncoderError) {
        self.error.get_or_insert(error);
    }

    /// Starts a call. One that hangs is left behind: a thread cannot be ended from outside.
    pub(super) fn start(&mut self, samples: Vec<Sample>) {
        let (call, encoder, sender) = (self.next, self.encoder.clone(), self.sender.clone());
        self.next += 1;
        self.running.push((call, Instant::now() + self.encoder.time_limit));
        std::thread::spawn(move || {
            let modality = &encoder.description.modality;
            let items: Vec<Item<'_>> = samples.iter().map(|sample| Item::new(modality, &sample.bytes)).collect();
            let encoded = catch_unwind(AssertUnwindSafe(|| encoder.encode(&items))).unwrap_or_else(|_| {
                let reason = "its answer cannot be taken apart".to_owned();
                Err(EncoderError::Protocol { encoder: encoder.name.clone(), reason })
            });
            // Nobody listens any more if the call was given up.
            let _ = sender.send((call, samples, encoded));
        });
    }

    /// Waits no longer than `limit` for an answer; a call beyond its time is given up as an error.
    pub(super) fn wait(&mut self, limit: Duration) -> Option<Answer> {
        if let Ok((call, samples, encoded)) = self.replies.recv_timeout(limit) {
            self.running.retain(|(running, _)| *running != call);
            match encoded {
                Ok(encoded) => return Some(Answer { samples, encoded }),
                Err(error) => self.fail(error),
            }
        }
        let now = Instant::now();
        let before = self.running.len();
        self.running.retain(|(_, deadline)| *deadline > now);
        if self.running.len() < before {
            self.fail(EncoderError::Hang { encoder: self.encoder.name.clone(), limit: self.encoder.time_limit });
        }
        None
    }
}
