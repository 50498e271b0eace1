//! Concurrent calls of an encoder, each with a time limit; as many again wait in a queue.

use fusemix_sdk::rows::{Encoded, Receipt, Rows};
use fusemix_sdk::{Error, Item, Outcome};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::TICK;
use super::awaited::Awaited;
use super::batches::{Batch, Sample};
use crate::plugin::{Deliver, EncoderError, LoadedEncoder};
use crate::stop::Stop;

/// Rows received for some samples of a batch.
pub(super) struct Answer {
    batch: Arc<Batch>,
    pub(super) rows: Rows,
}

impl Answer {
    /// The samples that it is about, in the order of its outcomes.
    pub(super) fn samples(&self) -> impl Iterator<Item = &Sample> {
        self.rows.outcomes.iter().map(|(index, _)| &self.batch.samples[*index])
    }

    /// Each of those samples with its outcome.
    pub(super) fn outcomes(&self) -> impl Iterator<Item = (&Sample, &Outcome)> {
        self.rows.outcomes.iter().map(|(index, outcome)| (&self.batch.samples[*index], outcome))
    }

    /// Each sample that has a latent, with its values.
    pub(super) fn latents(&self) -> impl Iterator<Item = (&Sample, &[f32])> {
        self.outcomes().filter_map(|(sample, outcome)| Some((sample, outcome.as_ref().ok()?.values.as_slice())))
    }

    /// The same without the latents.
    pub(super) fn without_latents(mut self) -> Self {
        self.rows.outcomes.retain(|(_, outcome)| outcome.is_err());
        self
    }

    /// Those samples as a batch of their own.
    pub(super) fn again(&self) -> Batch {
        self.samples().cloned().collect()
    }

    /// The width of its latents, if it has any.
    pub(super) fn width(&self) -> Option<usize> {
        self.rows.outcomes.iter().find_map(|(_, outcome)| Some(outcome.as_ref().ok()?.values.len()))
    }
}

/// One call, in which each delivery of rows may take the encoder's time limit; `see` has them, however it ends.
pub fn call(
    encoder: &Arc<LoadedEncoder>,
    items: Vec<Vec<u8>>,
    see: &mut dyn FnMut(&Rows),
) -> Result<Encoded, EncoderError> {
    enum Heard {
        Rows(Rows),
        Ended(Result<(), EncoderError>),
    }
    let mut encoded = Encoded::awaited(items.len());
    let (sender, heard) = channel();
    let called = encoder.clone();
    thread::spawn(move || {
        let _permit = called.permit();
        // Nobody listens once the call counts as hung.
        let mut store = |rows| {
            sender.send(Heard::Rows(rows)).map_err(|_| over())?;
            Ok(Receipt::default())
        };
        let ended = encode(&called, items.iter().map(Vec::as_slice), &mut store);
        sender.send(Heard::Ended(ended))
    });
    let limit = encoder.time_limit;
    let (mut deadline, mut awaited) = (Instant::now() + limit, Awaited::default());
    loop {
        match heard.recv_timeout(TICK.min(limit)) {
            Ok(Heard::Rows(rows)) => {
                see(&rows);
                encoded.take(rows);
                deadline = Instant::now() + limit;
            }
            Ok(Heard::Ended(ended)) => return ended.map(|()| encoded),
            Err(RecvTimeoutError::Timeout) if Instant::now() < deadline => {
                awaited.see(encoder.should_stop(), 1, &encoder.name);
            }
            Err(_) => {
                encoder.give_up();
                return Err(EncoderError::Hang { encoder: encoder.name.clone(), limit });
            }
        }
    }
}

fn encode<'a>(
    encoder: &'a LoadedEncoder,
    items: impl Iterator<Item = &'a [u8]>,
    store: &mut Deliver<'_>,
) -> Result<(), EncoderError> {
    let modality = &encoder.description.modality;
    let items: Vec<Item<'_>> = items.map(|bytes| Item::new(modality, bytes)).collect();
    encoder.encode(&items, store)
}

/// The error for an encoder whose call was abandoned.
fn over() -> Error {
    Error::new("the host has ended this encoding")
}

enum Event {
    Begun(u64),
    /// The call was cancelled.
    Dropped,
    /// The call waits for the receipt, unless these rows are its last.
    Rows(u64, Answer, Option<Sender<Receipt>>),
    Ended(u64, Result<(), EncoderError>),
}

/// The running calls, and the first error among finished ones.
pub(super) struct Calls {
    encoder: Arc<LoadedEncoder>,
    /// The number of calls so far, and of those that have not finished.
    next: u64,
    under_way: usize,
    /// (call, its deadline, unless it waits for this side)
    running: Vec<(u64, Option<Instant>)>,
    /// Calls that wait until their rows are stored.
    waiting: Vec<(u64, Sender<Receipt>)>,
    /// The encoder's last reason for waiting.
    status: String,
    workers: usize,
    queue: Sender<(u64, Batch)>,
    queued: Arc<Mutex<Receiver<(u64, Batch)>>>,
    /// Queued calls are no longer started.
    closed: Arc<AtomicBool>,
    sender: Sender<Event>,
    events: Receiver<Event>,
    error: Option<EncoderError>,
    /// True once a call counts as hung.
    hangs: bool,
    awaited: Awaited,
}

impl Drop for Calls {
    /// Nobody waits for a call that hangs, nor for any other now.
    fn drop(&mut self) {
        if self.hangs {
            self.encoder.give_up();
        }
    }
}

impl Calls {
    pub(super) fn new(encoder: Arc<LoadedEncoder>) -> Self {
        let (queue, queued) = channel();
        let (sender, events) = channel();
        Self {
            encoder,
            next: 0,
            under_way: 0,
            running: Vec::new(),
            waiting: Vec::new(),
            status: String::new(),
            workers: 0,
            queue,
            queued: Arc::new(Mutex::new(queued)),
            closed: Arc::default(),
            sender,
            events,
            error: None,
            hangs: false,
            awaited: Awaited::default(),
        }
    }

    /// Says what a stop waits for, once, after a while.
    pub(super) fn say_what_is_awaited(&mut self, stop: &Stop) {
        self.awaited.see(stop.is_asked(), self.running.len(), &self.encoder.name);
    }

    /// Calls that have not finished.
    pub(super) fn under_way(&self) -> usize {
        self.under_way
    }

    /// True if the queue holds as many calls as may run, so that no worker idles while an answer is stored.
    pub(super) fn is_full(&self) -> bool {
        self.under_way >= 2 * self.encoder.description.concurrency
    }

    pub(super) fn failed(&self) -> bool {
        self.error.is_some()
    }

    pub(super) fn into_error(mut self) -> Option<EncoderError> {
        self.error.take()
    }

    /// Records the first error, and starts no further call.
    pub(super) fn fail(&mut self, error: EncoderError) {
        self.error.get_or_insert(error);
        self.close();
    }

    /// Starts no further call.
    pub(super) fn close(&mut self) {
        self.closed.store(true, Ordering::Relaxed);
        // Workers that hang take nothing more from the queue. One that has the lock waits for what is in it.
        if let Ok(queued) = self.queued.try_lock() {
            self.under_way -= queued.try_iter().count();
        }
    }

    /// Starts a call, now or when another has finished.
    pub(super) fn start(&mut self, batch: Batch) {
        if self.workers < self.encoder.description.concurrency {
            self.work();
        }
        self.under_way += 1;
        // The receiver is this object's own.
        let _ = self.queue.send((self.next, batch));
        self.next += 1;
    }

    /// Starts a thread that calls the encoder. A hung thread is abandoned, since it cannot be stopped from outside.
    fn work(&mut self) {
        self.workers += 1;
        let (encoder, queued) = (self.encoder.clone(), self.queued.clone());
        let (closed, sender) = (self.closed.clone(), self.sender.clone());
        thread::spawn(move || {
            loop {
                let next = queued.lock().unwrap_or_else(PoisonError::into_inner).recv();
                let Ok((call, batch)) = next else { return };
                let _permit = encoder.permit();
                let event = if closed.load(Ordering::Relaxed) {
                    Event::Dropped
                } else if sender.send(Event::Begun(call)).is_err() {
                    return;
                } else {
                    let batch = Arc::new(batch);
                    let mut store = |rows: Rows| {
                        let (receipt, received) = channel();
                        let receipt = (!rows.last).then_some(receipt);
                        let waits = receipt.is_some();
                        let answer = Answer { batch: batch.clone(), rows };
                        sender.send(Event::Rows(call, answer, receipt)).map_err(|_| over())?;
                        if waits { received.recv().map_err(|_| over()) } else { Ok(Receipt::default()) }
                    };
                    let items = batch.samples.iter().map(|sample| sample.bytes.as_slice());
                    Event::Ended(call, encode(&encoder, items, &mut store))
                };
                if sender.send(event).is_err() {
                    return;
                }
            }
        });
    }

    /// Waits up to `limit` for an event, and takes all rows received by then. A call past its deadline becomes an
    /// error; sending rows or a new status resets the deadline.
    pub(super) fn wait(&mut self, limit: Duration) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut event = self.events.recv_timeout(limit).ok();
        while let Some(heard) = event {
            answers.extend(self.heed(heard));
            event = self.events.try_recv().ok();
        }
        let now = Instant::now();
        let status = self.encoder.status();
        if status != self.status {
            let deadline = now + self.encoder.time_limit;
            self.running.iter_mut().filter_map(|(_, limit)| limit.as_mut()).for_each(|limit| *limit = deadline);
            self.status = status;
        }
        let before = self.running.len();
        self.running.retain(|(_, deadline)| deadline.is_none_or(|deadline| deadline > now));
        if self.running.len() < before {
            self.under_way -= before - self.running.len();
            self.hangs = true;
            self.fail(EncoderError::Hang { encoder: self.encoder.name.clone(), limit: self.encoder.time_limit });
        }
        answers
    }

    fn heed(&mut self, event: Event) -> Option<Answer> {
        match event {
            Event::Begun(call) => self.running.push((call, Some(Instant::now() + self.encoder.time_limit))),
            Event::Dropped => self.under_way -= 1,
            Event::Rows(call, answer, receipt) => {
                // Those of a call that was given up are paid for all the same.
                if let Some(receipt) = receipt {
                    self.running
                        .iter_mut()
                        .filter(|(running, _)| *running == call)
                        .for_each(|(_, limit)| *limit = None);
                    self.waiting.push((call, receipt));
                }
                return Some(answer);
            }
            Event::Ended(call, ended) => {
                // One that was given up was counted then.
                let before = self.running.len();
                self.running.retain(|(running, _)| *running != call);
                self.under_way -= before - self.running.len();
                if let Err(error) = ended {
                    self.fail(error);
                }
            }
        }
        None
    }

    /// Confirms that all received rows are stored: waiting calls continue, or end if the host wants to `stop`.
    pub(super) fn release(&mut self, stop: bool) {
        let deadline = Instant::now() + self.encoder.time_limit;
        for (call, receipt) in self.waiting.drain(..) {
            self.running
                .iter_mut()
                .filter(|(running, _)| *running == call)
                .for_each(|(_, limit)| *limit = Some(deadline));
            // A call that was given up may have died meanwhile.
            let _ = receipt.send(Receipt { stop });
        }
    }
}
