//! A run of an encoding: sending batches, receiving rows, storing them.

use fusemix_sdk::ErrorKind;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use super::batches::{Batch, Batches, Next, Sample};
use super::calls::{Answer, Calls};
use super::column::{ColumnRows, Reason};
use super::later::{Fate, Later};
use super::read::{Files, Reading};
use super::summary::{Encoding, Progress, Summary, Wanted};
use super::width::{Verdict, Width};
use super::{EncodeError, READ_AHEAD, TICK, not_finite, spent};
use crate::cache::{CacheError, Key, Ledger, Shelf};
use crate::dataset::Items;
use crate::plugin::{EncoderError, LoadedEncoder};
use crate::stop::Stop;

/// Encodes the `wanted` `items` that `shelf` does not know. `watch` sees the progress, and what is waited for, if
/// anything.
pub fn encode(
    items: Items<'_>,
    files: Files<'_>,
    encoder: &Arc<LoadedEncoder>,
    shelf: &Shelf,
    wanted: Wanted,
    stop: &Stop,
    watch: &mut dyn FnMut(Progress, &str),
) -> Encoding {
    let start = Instant::now();
    let mut run = Run {
        encoder,
        shelf,
        stop,
        wanted,
        rows: ColumnRows::new(items, wanted.retry_failed, wanted.places),
        width: None,
        again: VecDeque::new(),
        later: Later::new(encoder),
        summary: Summary { rows: items.len(), ..Summary::default() },
        sent: 0,
        expected: 0.0,
        worked: 0,
        full: false,
        closed: false,
        ledger: shelf.ledger(),
        watch,
    };
    let error = std::thread::scope(|scope| {
        // Whatever ends this closes the channel, and the reading with it.
        let (chunks, reads) = sync_channel(READ_AHEAD);
        let (batch, retry_failed) = (encoder.description.batch, wanted.retry_failed);
        let reading = Reading { items, files, shelf, batch, retry_failed };
        scope.spawn(move || reading.run(chunks));
        run.drive(&mut Batches::new(reads, encoder, shelf, true)).err()
    });
    let ColumnRows { cached, duplicates, remembered, damaged, .. } = run.rows;
    let (failures, places) = run.rows.end();
    let seconds = start.elapsed().as_secs_f64();
    let (failed, told) = (failures.len(), error.as_ref().map(ToString::to_string));
    let passing = failures.iter().filter(|failure| failure.passing).count();
    let summary = Summary {
        cached,
        duplicates,
        remembered,
        damaged,
        failed,
        passing,
        failures,
        seconds,
        error: told,
        ..run.summary
    };
    Encoding { places, summary, error }
}

struct Run<'a> {
    encoder: &'a Arc<LoadedEncoder>,
    shelf: &'a Shelf,
    stop: &'a Stop,
    wanted: Wanted,
    rows: ColumnRows<'a>,
    /// None until there is something to send.
    width: Option<Width>,
    /// Batches that must be resent.
    again: VecDeque<Batch>,
    /// Items that failed for a passing reason.
    later: Later,
    summary: Summary,
    /// The items sent, and the cost of those still unanswered.
    sent: usize,
    expected: f64,
    /// Items with an answer.
    worked: usize,
    /// True if no new item may be sent, and if nothing may be sent.
    full: bool,
    closed: bool,
    ledger: Ledger,
    watch: &'a mut dyn FnMut(Progress, &str),
}

impl Run<'_> {
    /// Sends unknown items.
    fn drive(&mut self, batches: &mut Batches<'_>) -> Result<(), EncodeError> {
        let mut calls = Calls::new(self.encoder.clone());
        let mut broken = None;
        while !self.ends(&calls) {
            let mut batch = match self.next(batches) {
                Ok(Next::Batch(batch)) => batch,
                Ok(Next::Later) => {
                    self.collect(&mut calls, Duration::ZERO)?;
                    continue;
                }
                Ok(Next::End) if calls.under_way() > 0 || self.awaits_others() => {
                    self.collect(&mut calls, TICK)?;
                    continue;
                }
                Ok(Next::End) => break,
                Err(error) => {
                    broken = Some(error);
                    break;
                }
            };
            while calls.is_full() && !self.ends(&calls) {
                self.collect(&mut calls, TICK)?;
            }
            while !self.ends(&calls) && !self.affords(self.cost(&batch)) && calls.under_way() > 0 {
                // What is under way may cost less than expected.
                self.collect(&mut calls, TICK)?;
            }
            if self.ends(&calls) {
                break;
            }
            if !self.affords(self.cost(&batch)) {
                (self.summary.bounded, self.closed) = (true, true);
                batch.truncate(self.affordable(&batch));
                if batch.samples.is_empty() {
                    continue;
                }
            }
            // What comes back is paid for, and must find room.
            if let Err(error) = self.check_room() {
                broken = Some(error.into());
                break;
            }
            self.expected += self.cost(&batch);
            calls.start(batch);
            self.collect(&mut calls, Duration::ZERO)?;
        }
        // What the calls that run answer is kept, whatever happened to the others.
        calls.close();
        while calls.under_way() > 0 {
            self.collect(&mut calls, TICK)?;
            calls.close();
            calls.say_what_is_awaited(self.stop);
        }
        match broken {
            // A measurement was given up, as the user asked to stop.
            Some(EncodeError::Encoder(error)) if error.kind() == Some(ErrorKind::Stopped) && self.stop.is_asked() => {
                self.summary.stopped = true;
                return Ok(());
            }
            Some(error) => return Err(error),
            None => {}
        }
        match calls.into_error() {
            Some(EncoderError::Hang { .. }) if self.stop.is_asked() => self.summary.stopped = true,
            Some(error) if error.kind() == Some(ErrorKind::Stopped) => {
                let stopped = self.stop.is_asked();
                (self.summary.stopped, self.summary.bounded) = (stopped, self.summary.bounded || !stopped);
            }
            Some(error) => return Err(error.into()),
            None if self.stop.is_asked() => self.summary.stopped = self.rows.settled < self.summary.rows,
            None => self.end_held()?,
        }
        Ok(())
    }

    /// Fails the items of another width than that of an answer that came after them: the encoder works.
    fn fail_held(&mut self) -> Result<(), CacheError> {
        let held = self.width.as_mut().map(Width::release).unwrap_or_default();
        if held.is_empty() {
            return Ok(());
        }
        let reasons: Vec<(Key, &str)> = held.iter().map(|(key, reason)| (*key, reason.as_str())).collect();
        self.shelf.store()?.append(&[], &reasons)?;
        self.worked += held.len();
        for (key, text) in held {
            self.later.settle(&key);
            self.rows.failed(key, text.into());
        }
        Ok(())
    }

    /// The same at the end, where nothing shows that it does: the next run tries them again.
    fn end_held(&mut self) -> Result<(), EncoderError> {
        let Some(width) = &mut self.width else { return Ok(()) };
        if let Some(error) = width.broken() {
            return Err(error);
        }
        for (key, reason) in width.release() {
            let text =
                format!("{reason}; if all of them do, the model is not the one that made the latents in the cache");
            self.worked += 1;
            self.rows.failed(key, Reason { text, passing: true });
        }
        Ok(())
    }

    fn check_room(&mut self) -> Result<(), CacheError> {
        let store = self.shelf.store()?;
        if store.next_row() > 0 {
            self.encoder.has_worked();
        }
        let width = self.width.get_or_insert_with(|| Width::new(self.encoder, store)).known();
        store.check_room(self.sent - self.worked, width.unwrap_or(0))
    }

    fn ends(&self, calls: &Calls) -> bool {
        calls.failed() || self.stop.is_asked()
    }

    /// True if items wait to be tried again.
    fn awaits_others(&self) -> bool {
        !self.closed && !self.later.is_empty()
    }

    /// The next batch to send.
    fn next(&mut self, batches: &mut Batches<'_>) -> Result<Next, EncodeError> {
        if let Some(batch) = self.again.pop_front().filter(|_| !self.closed) {
            return Ok(Next::Batch(batch));
        }
        if let Some(batch) = self.later.due(Instant::now()).filter(|_| !self.closed) {
            return Ok(Next::Batch(batch));
        }
        if self.full || self.closed || self.later.is_full() {
            return Ok(Next::End);
        }
        let mut batch = match batches.next(&mut self.rows)? {
            Next::Batch(batch) => batch,
            other => return Ok(other),
        };
        if let Some(most) = self.wanted.max_items {
            let left = most.saturating_sub(self.sent);
            self.full = batch.samples.len() > left;
            self.summary.bounded |= self.full;
            batch.truncate(left);
        }
        self.sent += batch.samples.len();
        Ok(if batch.samples.is_empty() { Next::End } else { Next::Batch(batch) })
    }

    /// The cost of a batch.
    fn cost(&self, batch: &Batch) -> f64 {
        self.cost_of(batch.size.tokens, batch.samples.len())
    }

    fn cost_of(&self, tokens: u64, items: usize) -> f64 {
        self.encoder.description.price.unwrap_or_default().of(tokens as f64, items as f64)
    }

    /// True if `cost` is within the bound.
    fn affords(&self, cost: f64) -> bool {
        let spent = self.summary.cost.unwrap_or(0.0) + self.expected;
        self.wanted.max_cost.is_none_or(|most| spent + cost <= most)
    }

    /// The number of the batch's first items that may still be sent.
    fn affordable(&self, batch: &Batch) -> usize {
        let mut tokens = 0;
        let fits = |(before, sample): &(usize, &Sample)| {
            tokens += sample.size.tokens;
            self.affords(self.cost_of(tokens, before + 1))
        };
        batch.samples.iter().enumerate().take_while(fits).count()
    }

    /// Waits up to `limit` for rows, and stores all that have arrived in one durable step.
    fn collect(&mut self, calls: &mut Calls, limit: Duration) -> Result<(), EncodeError> {
        let mut good = Vec::new();
        for answer in calls.wait(limit) {
            self.pay(&answer);
            let store = self.shelf.store()?;
            match self.width.get_or_insert_with(|| Width::new(self.encoder, store)).judge(&answer, store)? {
                Verdict::Good => {
                    if answer.width().is_some() {
                        self.fail_held()?;
                    }
                    good.push(answer);
                }
                Verdict::Held => good.push(answer.without_latents()),
                Verdict::Again => self.again.push_back(answer.again()),
                Verdict::First(error) => {
                    // What came just before it has the width of the first.
                    let before = std::mem::replace(&mut good, vec![answer]);
                    self.again.extend(before.iter().map(Answer::again));
                    error.into_iter().for_each(|error| calls.fail(error));
                }
                Verdict::Wrong(error) => calls.fail(error),
            }
        }
        self.store(good, calls)?;
        // An encoder that was charged for more than was expected stops in the middle of its batch.
        calls.release(self.ends(calls) || !self.affords(0.0));
        let (done, failed) = (self.rows.settled, self.rows.failures.len());
        let waits = match calls.under_way() {
            0 => self.later.status(Instant::now()),
            _ => self.encoder.status(),
        };
        (self.watch)(Progress { done, total: self.summary.rows, worked: self.worked, failed }, &waits);
        Ok(())
    }

    /// Adds up the usage of an answer, even of an unusable one.
    fn pay(&mut self, answer: &Answer) {
        let measured: u64 = answer.samples().map(|sample| sample.size.tokens).sum();
        self.expected -= self.cost_of(measured, answer.rows.outcomes.len());
        let spent = spent(&answer.rows, measured, self.encoder);
        self.ledger.add(&spent);
        for (unit, amount) in spent.usage {
            *self.summary.usage.entry(unit).or_default() += amount;
        }
        if let Some(cost) = spent.cost {
            *self.summary.cost.get_or_insert(0.0) += cost;
        }
    }

    /// Stores answers in one durable step.
    fn store(&mut self, answers: Vec<Answer>, calls: &mut Calls) -> Result<(), EncodeError> {
        if answers.is_empty() {
            return Ok(());
        }
        let mut latents: Vec<(Key, Vec<f32>)> = Vec::new();
        let mut failures: Vec<(Key, String)> = Vec::new();
        let mut passing: Vec<(Key, String)> = Vec::new();
        for answer in answers {
            for (sample, outcome) in answer.outcomes() {
                let key = sample.key;
                match outcome {
                    Ok(latent) => match not_finite(&self.encoder.name, &latent.values) {
                        Some(reason) => {
                            self.summary.not_finite += 1;
                            self.later.settle(&key);
                            failures.push((key, reason));
                        }
                        None => {
                            self.later.works(&key, Instant::now());
                            self.summary.truncated += usize::from(latent.truncated);
                            latents.push((key, latent.values.clone()));
                        }
                    },
                    Err(error) if error.transient => match self.later.put(sample, error, Instant::now()) {
                        Fate::Later => continue,
                        Fate::Over(reason) => passing.push((key, reason)),
                        Fate::Dead(error) => {
                            calls.fail(error);
                            continue;
                        }
                    },
                    Err(error) => {
                        self.later.settle(&key);
                        failures.push((key, error.message.clone()));
                    }
                }
                self.worked += 1;
            }
        }
        let rows: Vec<(Key, &[f32])> = latents.iter().map(|(key, row)| (*key, row.as_slice())).collect();
        let reasons: Vec<(Key, &str)> = failures.iter().map(|(key, reason)| (*key, reason.as_str())).collect();
        let first = self.shelf.store()?.append(&rows, &reasons)?;
        self.summary.encoded += latents.len();
        for ((key, _), at) in latents.iter().zip(first..) {
            self.rows.stored(key, at);
        }
        failures.into_iter().for_each(|(key, text)| self.rows.failed(key, text.into()));
        passing.into_iter().for_each(|(key, text)| self.rows.failed(key, Reason { text, passing: true }));
        Ok(())
    }
}
