//! Items that failed for a passing reason: each waits, and is tried again for as long as the encoder's entry says.

use fusemix_sdk::{Description, ItemError};
use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use super::batches::{Batch, Sample, pack};
use crate::cache::Key;
use crate::plugin::{EncoderError, LoadedEncoder};
use crate::wording::count;

/// The first pause, and the longest: they double. A plugin may ask for longer ones.
const FIRST: Duration = Duration::from_millis(500);
const LONGEST: Duration = Duration::from_secs(30);
/// The batches, for each call that may run, whose items may have failed, and their bytes: then nothing new is sent.
const CALLS: usize = 4;
const BYTES: u64 = 1 << 27;

/// What becomes of an item that has failed for a passing reason.
#[derive(Debug)]
pub(super) enum Fate {
    /// It will be tried again.
    Later,
    /// It will not, for this reason.
    Over(String),
    /// No item has worked for so long that the encoder is to blame.
    Dead(EncoderError),
}

/// An item that waits.
struct Waiting {
    due: Instant,
    sample: Sample,
}

/// An item's tries so far.
struct Tried {
    since: Instant,
    times: u32,
    bytes: u64,
}

/// The items of one encoding that wait.
pub(super) struct Later {
    encoder: String,
    description: Description,
    /// The time for which an item is tried again.
    limit: Duration,
    waiting: Vec<Waiting>,
    /// The items that have failed and not yet worked, whether they wait or are tried; and their bytes.
    tried: HashMap<Key, Tried>,
    bytes: u64,
    /// The time of the last latent.
    worked: Option<Instant>,
    /// The last reason.
    reason: String,
}

impl Later {
    pub(super) fn new(encoder: &LoadedEncoder) -> Self {
        Self::with(&encoder.name, encoder.description.clone(), encoder.retry_limit)
    }

    fn with(encoder: &str, description: Description, limit: Duration) -> Self {
        Self {
            encoder: encoder.to_owned(),
            description,
            limit,
            waiting: Vec::new(),
            tried: HashMap::new(),
            bytes: 0,
            worked: None,
            reason: String::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// True if so many have failed that nothing new should be sent before they work or are given up.
    pub(super) fn is_full(&self) -> bool {
        let most = CALLS.saturating_mul(self.description.batch).saturating_mul(self.description.concurrency);
        self.tried.len() >= most || self.bytes >= BYTES
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.tried.clear();
        self.bytes = 0;
    }

    /// Records that an item has its latent.
    pub(super) fn works(&mut self, key: &Key, now: Instant) {
        self.worked = Some(now);
        self.settle(key);
    }

    /// Records that an item is not tried again.
    pub(super) fn settle(&mut self, key: &Key) {
        if let Some(tried) = self.tried.remove(key) {
            self.bytes -= tried.bytes;
        }
    }

    /// Takes an item that has failed and may work the next time, now or in another run.
    pub(super) fn put(&mut self, sample: &Sample, error: &ItemError, now: Instant) -> Fate {
        let Some(asked) = error.retry_ms else {
            self.settle(&sample.key);
            return Fate::Over(error.message.clone());
        };
        let was_full = self.is_full();
        let tried = self.tried.entry(sample.key).or_insert_with(|| {
            let bytes = sample.bytes.len() as u64;
            self.bytes += bytes;
            Tried { since: now, times: 0, bytes }
        });
        tried.times += 1;
        let end = tried.since + self.limit;
        let pause = FIRST.saturating_mul(1 << (tried.times - 1).min(16)).min(LONGEST);
        let asked = now.checked_add(Duration::from_millis(asked)).filter(|asked| *asked <= end);
        let due = asked.map(|asked| asked.max(end.min(now + pause)));
        match due.filter(|_| now < end) {
            Some(due) => {
                self.say_once(&error.message);
                self.waiting.push(Waiting { due, sample: sample.clone() });
                Fate::Later
            }
            None => {
                let (since, times) = (tried.since, tried.times);
                self.settle(&sample.key);
                // What is left to send would fail like all that has been tried meanwhile.
                if was_full && times > 1 && self.worked.is_none_or(|worked| worked < since) {
                    let (encoder, reason) = (self.encoder.clone(), error.message.clone());
                    return Fate::Dead(EncoderError::Passing { encoder, limit: self.limit, reason });
                }
                Fate::Over(self.over(&error.message, times, now - since))
            }
        }
    }

    /// The reason of an item that is not tried again after so many tries in some time.
    fn over(&self, reason: &str, times: u32, time: Duration) -> String {
        match (self.limit.is_zero(), times) {
            (true, _) => reason.to_owned(),
            (false, 1) => format!("{reason} (not tried again: `retry_seconds` is shorter than the wait)"),
            (false, _) => format!("{reason} (tried {times} times in {} s)", time.as_secs()),
        }
    }

    fn say_once(&mut self, reason: &str) {
        if self.reason.is_empty() {
            tracing::warn!(
                "encoder `{}`: {reason}; this may pass: such items are tried again for {} s (`retry_seconds`)",
                self.encoder,
                self.limit.as_secs_f64()
            );
        }
        reason.clone_into(&mut self.reason);
    }

    /// Items whose time has come, as a batch; none if there are none.
    pub(super) fn due(&mut self, now: Instant) -> Option<Batch> {
        let (due, waiting): (Vec<Waiting>, Vec<Waiting>) = self.waiting.drain(..).partition(|item| item.due <= now);
        self.waiting = waiting;
        let mut ready: VecDeque<Sample> = due.into_iter().map(|item| item.sample).collect();
        let batch = pack(&ready, &self.description).take(&mut ready);
        self.waiting.extend(ready.into_iter().map(|sample| Waiting { due: now, sample }));
        (!batch.samples.is_empty()).then_some(batch)
    }

    /// What is waited for while nothing else is under way; an empty line if it is nothing, or soon over.
    pub(super) fn status(&self, now: Instant) -> String {
        let Some(due) = self.waiting.iter().map(|item| item.due).min() else { return String::new() };
        let (items, seconds) = (count(self.waiting.len(), "item"), due.saturating_duration_since(now).as_secs() + 1);
        format!("waiting {seconds} s to try {items} again: {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use fusemix_sdk::{Modality, Size};

    use super::*;

    fn sample(item: u8) -> Sample {
        Sample { key: Key([item; 32]), bytes: vec![item; 10], size: Size::new(10, 0) }
    }

    fn later(seconds: u64) -> Later {
        Later::with("x", Description::new(Modality::Text, 4).batch(2), Duration::from_secs(seconds))
    }

    fn passing() -> ItemError {
        ItemError::passing("down")
    }

    /// The times in milliseconds at which an item that never works is tried again, and its last reason.
    fn tries(seconds: u64, error: &ItemError) -> (Vec<u128>, String) {
        let (mut later, start) = (later(seconds), Instant::now());
        let (mut now, mut times) = (start, Vec::new());
        loop {
            match later.put(&sample(1), error, now) {
                Fate::Later => {}
                Fate::Over(reason) => return (times, reason),
                Fate::Dead(error) => panic!("{error}"),
            }
            now = later.waiting[0].due;
            assert!(later.due(now - Duration::from_millis(1)).is_none());
            assert_eq!(later.due(now).unwrap().samples.len(), 1);
            times.push((now - start).as_millis());
        }
    }

    #[test]
    fn an_item_is_tried_again_with_growing_pauses_until_its_time_is_over() {
        let times = vec![500, 1500, 3500, 7500, 10_000];
        assert_eq!(tries(10, &passing()), (times, "down (tried 6 times in 10 s)".to_owned()));
        let asked = passing().after(Duration::from_secs(4));
        assert_eq!(tries(10, &asked), (vec![4000, 8000], "down (tried 3 times in 8 s)".to_owned()));
        let never = "down (not tried again: `retry_seconds` is shorter than the wait)".to_owned();
        assert_eq!(tries(10, &passing().after(Duration::from_secs(11))), (vec![], never.clone()));
        assert_eq!(tries(10, &passing().after(Duration::MAX)), (vec![], never));
        assert_eq!(tries(0, &passing()), (vec![], "down".to_owned()));
        assert_eq!(tries(10, &ItemError::transient("small")), (vec![], "small".to_owned()));
    }

    #[test]
    fn items_come_back_in_batches_that_the_encoder_takes() {
        let (mut later, now) = (later(10), Instant::now());
        (0..7).for_each(|item| assert!(matches!(later.put(&sample(item), &passing(), now), Fate::Later)));
        assert!(!later.is_full());
        assert!(matches!(later.put(&sample(7), &passing(), now), Fate::Later));
        assert!(later.is_full() && later.bytes == 80);
        assert_eq!(later.status(now), "waiting 1 s to try 8 items again: down");
        let soon = now + FIRST;
        let batches: Vec<usize> = std::iter::from_fn(|| later.due(soon)).map(|batch| batch.samples.len()).collect();
        assert_eq!((batches, later.is_empty(), later.is_full()), (vec![2; 4], true, true), "they are under way");
        (0..8).for_each(|item| later.works(&Key([item; 32]), soon));
        assert_eq!((later.bytes, later.is_full()), (0, false));
    }

    #[test]
    fn an_item_that_fails_for_another_reason_in_the_end_waits_no_more() {
        let (mut later, now) = (later(10), Instant::now());
        (0..8).for_each(|item| drop(later.put(&sample(item), &passing(), now)));
        assert!(later.is_full());
        let ends = |item| later.put(&sample(item), &ItemError::transient("out of memory"), now);
        assert!((0..8).map(ends).all(|fate| matches!(fate, Fate::Over(_))));
        assert_eq!((later.bytes, later.is_full()), (0, false));
    }

    #[test]
    fn an_encoder_with_which_nothing_works_is_to_blame_and_not_the_items() {
        let start = Instant::now();
        let over = |works: bool| {
            let mut later = later(10);
            (0..8).for_each(|item| drop(later.put(&sample(item), &passing(), start)));
            let now = start + Duration::from_secs(11);
            if works {
                later.works(&Key([9; 32]), start + Duration::from_secs(5));
            }
            later.put(&sample(0), &passing(), now)
        };
        let Fate::Dead(error) = over(false) else { panic!("it goes on") };
        assert!(error.to_string().contains("nothing has worked for 10s: down"), "{error}");
        assert!(matches!(over(true), Fate::Over(_)));
    }
}
