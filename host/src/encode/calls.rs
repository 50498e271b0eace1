//! Calls of an encoder, several at once, each under a time limit; as many again wait for their turn.

use fusemix_sdk::{Encoded, Item};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::batches::Batch;
use crate::plugin::{EncoderError, LoadedEncoder, Services};

/// What a call came back with: an outcome for each sample.
pub(super) struct Answer {
    pub(super) batch: Batch,
    pub(super) encoded: Encoded,
}

/// One call, under the encoder's time limit.
pub fn call(encoder: &Arc<LoadedEncoder>, items: Vec<Vec<u8>>) -> Result<Encoded, EncoderError> {
    let (answer, answered) = channel();
    let called = encoder.clone();
    thread::spawn(move || {
        let items: Vec<&[u8]> = items.iter().map(Vec::as_slice).collect();
        answer.send(encode(&called, &items))
    });
    let limit = encoder.time_limit;
    let hang = |_| EncoderError::Hang { encoder: encoder.name.clone(), limit };
    answered.recv_timeout(limit).map_err(hang)?
}

fn encode(encoder: &LoadedEncoder, items: &[&[u8]]) -> Result<Encoded, EncoderError> {
    let modality = &encoder.description.modality;
    let items: Vec<Item<'_>> = items.iter().map(|bytes| Item::new(modality, bytes)).collect();
    catch_unwind(AssertUnwindSafe(|| encoder.encode(&items))).unwrap_or_else(|_| {
        let reason = "its answer cannot be taken apart".to_owned();
        Err(EncoderError::Protocol { encoder: encoder.name.clone(), reason })
    })
}

enum Event {
    Begun(u64),
    /// Nobody wanted it any more.
    Dropped,
    Ended(u64, Batch, Result<Encoded, EncoderError>),
}

/// The calls that are under way, and the first error among those that have ended.
pub(super) struct Calls {
    encoder: Arc<LoadedEncoder>,
    services: Services,
    /// Calls so far, and how many of them have not ended.
    next: u64,
    under_way: usize,
    /// (call, when it counts as hung)
    running: Vec<(u64, Instant)>,
    /// What the encoder last said that it waits for.
    status: String,
    workers: usize,
    queue: Sender<(u64, Batch)>,
    queued: Arc<Mutex<Receiver<(u64, Batch)>>>,
    /// What waits is not begun any more.
    closed: Arc<AtomicBool>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    error: Option<EncoderError>,
}

impl Calls {
    pub(super) fn new(encoder: Arc<LoadedEncoder>, services: Services) -> Self {
        let (queue, queued) = channel();
        let (sender, events) = channel();
        Self {
            encoder,
            services,
            next: 0,
            under_way: 0,
            running: Vec::new(),
            status: String::new(),
            workers: 0,
            queue,
            queued: Arc::new(Mutex::new(queued)),
            closed: Arc::default(),
            sender,
            events,
            error: None,
        }
    }

    /// Calls that have not ended.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// Whether as many calls wait as may run: no worker idles while an answer is being stored.
    pub(super) fn is_full(&self) -> bool {
        self.under_way >= 2 * self.encoder.description.concurrency
    }

    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    pub(super) fn into_error(self) -> Option<EncoderError> {
        self.error
    }

    /// Remembers what went wrong, unless something did before, and begins no other call.
    pub(super) fn fail(&mut self, error: EncoderError) {
        self.error.get_or_insert(error);
        self.close();
    }

    /// Begins no other call.
    pub(super) fn close(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Workers that hang take nothing more from the queue. One that has the lock waits for what is in it.
        if let Ok(queued) = self.queued.try_lock() {
            self.under_way -= queued.try_iter().count();
        }
    }

    /// Starts a call, now or when another has ended.
    pub(super) fn start(&mut self, batch: Batch) {
        if self.workers < self.encoder.description.concurrency {
            self.work();
        }
        self.under_way += 1;
        // The receiver is this object's own.
        let _ = self.queue.send((self.next, batch));
        self.next += 1;
    }

    /// A thread that calls the encoder. One that hangs is left behind: a thread cannot be ended from outside.
    fn work(&mut self) {
        self.workers += 1;
        let (encoder, queued) = (self.encoder.clone(), self.queued.clone());
        let (closed, sender) = (self.closed.clone(), self.sender.clone());
        thread::spawn(move || {
            loop {
                let next = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((call, batch)) = next else { return };
                let event = if closed.load(Ordering::Relaxed) {
                    Event::Dropped
                } else if sender.send(Event::Begun(call)).is_err() {
                    return;
                } else {
                    let items: Vec<&[u8]> = batch.samples.iter().map(|sample| sample.bytes.as_slice()).collect();
                    let encoded = encode(&encoder, &items);
                    Event::Ended(call, batch, encoded)
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
    }

    /// Waits no longer than `limit` for an answer; a call beyond its time is given up as an error. While the encoder says
    /// anew what it waits for, it does not hang.
    pub(super) fn wait(&mut self, limit: Duration) -> Option<Answer> {
        let until = Instant::now() + limit;
        loop {
            match self.events.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Event::Begun(call)) => self.running.push((call, Instant::now() + self.encoder.time_limit)),
                Ok(Event::Dropped) => self.under_way -= 1,
                Ok(Event::Ended(call, batch, encoded)) => {
                    // One that was given up was counted then.
                    let before = self.running.len();
                    self.running.retain(|(running, _)| *running != call);
                    self.under_way -= before - self.running.len();
                    match encoded {
                        Ok(encoded) => return Some(Answer { batch, encoded }),
                        Err(error) => self.fail(error),
                    }
                }
                Err(_) => break,
            }
        }
        let (now, status) = (Instant::now(), self.services.status());
        if status != self.status {
            let deadline = now + self.encoder.time_limit;
            self.running.iter_mut().for_each(|(_, limit)| *limit = deadline);
            self.status = status;
        }
        let before = self.running.len();
        self.running.retain(|(_, deadline)| *deadline > now);
        if self.running.len() < before {
            self.under_way -= before - self.running.len();
            self.fail(EncoderError::Hang { encoder: self.encoder.name.clone(), limit: self.encoder.time_limit });
        }
        None
    }
}
