//! The memory that all requests share: for what clients send, what is fetched for them, and what they are sent.

use axum::body;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::sleep;

use super::HEAVY;
use super::app::App;
use super::error::Refusal;
use super::limits::Limits;
use crate::bytes::Bytes;

/// Bytes of the unit in which memory is counted.
const UNIT: usize = 1024;
/// Bytes of a value of an embedding: as a number, and as text.
const VALUE: usize = 16;
/// Copies of a body in memory at once: it, a text of it without escapes, and what is parsed of it; or a text in base64,
/// the same without white space, and what it decodes to.
pub(super) const COPIES: usize = 3;
/// Copies of an item that was parsed: the one that waits, and the one that is encoded.
const ITEM_COPIES: usize = 2;
/// The longest wait for memory.
const WAIT: Duration = Duration::from_secs(10);

/// The memory that all requests have together.
pub(super) struct Memory {
    /// Units that may be had at once.
    most: usize,
    free: Arc<Semaphore>,
    /// What one request has once nothing is free: those that hold a part each and wait for more would wait for one
    /// another.
    reserve: Arc<Semaphore>,
    reserved: usize,
}

/// A share of the memory, until it is dropped.
#[derive(Debug, Default)]
pub(super) struct Share {
    own: Option<OwnedSemaphorePermit>,
    /// A part of the reserve, or all of it.
    reserve: Option<OwnedSemaphorePermit>,
}

impl Memory {
    /// As much as is allowed, of which one request has what a body takes once nothing else is free; more where two
    /// bodies need it.
    pub(super) fn new(limits: &Limits) -> Self {
        let reserved = COPIES * limits.body / UNIT + 1;
        let all = (limits.memory / UNIT).max(2 * reserved);
        let most = all - reserved;
        Self { most, free: Arc::new(Semaphore::new(most)), reserve: Arc::new(Semaphore::new(reserved)), reserved }
    }

    /// The units of a share for so many bytes; never more than may be had.
    pub(super) fn units(&self, bytes: usize) -> usize {
        if bytes == 0 { 0 } else { (bytes / UNIT + 1).min(self.most) }
    }

    /// Bytes that may be had at once, in whole MiB.
    pub(super) fn bytes(&self) -> Bytes {
        Bytes((self.most * UNIT) as u64 >> 20 << 20)
    }

    /// Units that may be had at once.
    pub(super) fn most(&self) -> usize {
        self.most
    }

    /// Makes a share one of so many bytes at least, and waits for it; `sweep` frees what nobody needs any more.
    async fn grow(&self, share: &mut Share, bytes: usize, sweep: impl FnOnce()) -> Result<(), Refusal> {
        let missing = self.units(bytes).saturating_sub(share.units());
        if missing == 0 {
            return Ok(());
        }
        if let Ok(more) = self.free.clone().try_acquire_many_owned(missing as u32) {
            add(&mut share.own, more);
            return Ok(());
        }
        sweep();
        let fits = units(&share.reserve) == 0 && missing <= self.reserved;
        tokio::select! {
            biased;
            Ok(more) = self.free.clone().acquire_many_owned(missing as u32) => add(&mut share.own, more),
            Ok(all) = self.reserve.clone().acquire_many_owned(self.reserved as u32), if fits => {
                share.reserve = Some(all);
            }
            () = sleep(WAIT) => {
                return Err(Refusal::busy("what others have sent fills the memory; send this again later"));
            }
        }
        Ok(())
    }
}

fn add(to: &mut Option<OwnedSemaphorePermit>, more: OwnedSemaphorePermit) {
    match to {
        Some(permit) => permit.merge(more),
        None => *to = Some(more),
    }
}

fn units(permit: &Option<OwnedSemaphorePermit>) -> usize {
    permit.as_ref().map_or(0, OwnedSemaphorePermit::num_permits)
}

/// At most so many units of a permit.
fn part(permit: &mut Option<OwnedSemaphorePermit>, wanted: usize) -> Option<OwnedSemaphorePermit> {
    let wanted = units(permit).min(wanted);
    if wanted == 0 { None } else { permit.as_mut()?.split(wanted) }
}

impl Share {
    pub(super) fn units(&self) -> usize {
        units(&self.own) + units(&self.reserve)
    }

    /// Bytes that it is for.
    pub(super) fn bytes(&self) -> usize {
        self.units() * UNIT
    }

    /// At most so many units of it as another share: those of the reserve last.
    fn split(&mut self, wanted: usize) -> Self {
        let own = part(&mut self.own, wanted);
        let reserve = part(&mut self.reserve, wanted - units(&own));
        Self { own, reserve }
    }

    /// Gives back what is more than so many units: the reserve first.
    fn shrink(&mut self, wanted: usize) {
        let mut more = self.units().saturating_sub(wanted);
        for permit in [&mut self.reserve, &mut self.own] {
            let given = part(permit, more);
            more -= units(&given);
        }
    }
}

impl App {
    /// A share of the memory, for so many bytes.
    pub(super) async fn share(&self, bytes: usize) -> Result<Share, Refusal> {
        let mut share = Share::default();
        self.grow(&mut share, bytes).await?;
        Ok(share)
    }

    /// Makes a share one of so many bytes at least.
    pub(super) async fn grow(&self, share: &mut Share, bytes: usize) -> Result<(), Refusal> {
        // What clients that have gone still hold.
        let sweep = || self.towers.iter().for_each(|tower| tower.queue.sweep());
        self.memory.grow(share, bytes, sweep).await
    }

    /// Makes a share one of so many bytes at most.
    pub(super) fn shrink(&self, share: &mut Share, bytes: usize) {
        share.shrink(self.memory.units(bytes));
    }

    /// Parts the share of a body that was parsed: for its items, which have so many bytes, and for an answer of so many
    /// bytes, unless that is small. What the body had serves both, so that most requests wait for nothing.
    pub(super) async fn parted(
        &self,
        mut share: Share,
        items: usize,
        answer: usize,
    ) -> Result<(Arc<Share>, Option<Share>), Refusal> {
        let answer = if answer < HEAVY { 0 } else { answer };
        let items = ITEM_COPIES * items;
        self.grow(&mut share, items + answer).await?;
        let of_answer = (answer > 0).then(|| share.split(self.memory.units(answer)));
        self.shrink(&mut share, items);
        Ok((Arc::new(share), of_answer))
    }

    /// Bytes of an answer with so many embeddings, each of so many values.
    pub(super) fn answer_bytes(&self, items: usize, values: usize) -> usize {
        items.min(self.limits.items) * values * VALUE
    }

    /// The share of an answer that is there, unless it is small.
    pub(super) async fn answer_share(&self, bytes: usize) -> Result<Option<Share>, Refusal> {
        if bytes < HEAVY { Ok(None) } else { self.share(bytes).await.map(Some) }
    }
}

/// Bytes with their share of the memory.
struct Held {
    bytes: body::Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// The bytes of an answer, whose share of the memory is given back once the client has taken the last of them.
pub(super) fn held(bytes: impl Into<body::Bytes>, share: Option<Share>) -> body::Bytes {
    match share {
        Some(share) => body::Bytes::from_owner(Held { bytes: bytes.into(), _share: share }),
        None => bytes.into(),
    }
}

#[cfg(test)]
impl Share {
    /// A share of so many units of a memory.
    pub(super) fn of(memory: &Arc<Semaphore>, units: u32) -> Self {
        Self { own: Some(memory.clone().try_acquire_many_owned(units).unwrap()), reserve: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 units, 40 of which are the reserve.
    fn memory() -> Memory {
        let memory = Memory::new(&Limits { memory: 100 * UNIT, body: 13 * UNIT, ..Limits::default() });
        assert_eq!((memory.most, memory.reserved), (60, 40));
        memory
    }

    async fn grow(memory: &Memory, share: &mut Share, units: usize) -> bool {
        let grown = memory.grow(share, units * UNIT - 1, || {});
        tokio::time::timeout(Duration::from_millis(200), grown).await.is_ok_and(|grown| grown.is_ok())
    }

    #[tokio::test]
    async fn requests_that_wait_for_one_another_end_one_by_one() {
        let memory = memory();
        let (mut one, mut other) = (Share::default(), Share::default());
        assert!(grow(&memory, &mut one, 30).await && grow(&memory, &mut other, 30).await);
        assert!(grow(&memory, &mut one, 50).await, "by the reserve");
        assert!(!grow(&memory, &mut other, 50).await, "which only one has");
        drop(one);
        assert!(grow(&memory, &mut other, 50).await);
        drop(other);
        assert_eq!((memory.free.available_permits(), memory.reserve.available_permits()), (60, 40));
    }

    #[tokio::test]
    async fn a_share_is_parted_and_given_back() {
        let memory = memory();
        let (mut share, mut other) = (Share::default(), Share::default());
        assert!(grow(&memory, &mut other, 50).await && grow(&memory, &mut share, 30).await);
        assert_eq!(memory.reserve.available_permits(), 0);
        let answer = share.split(20);
        assert_eq!((answer.units(), share.units()), (20, 20));
        share.shrink(0);
        assert_eq!((share.units(), memory.reserve.available_permits()), (0, 20));
        drop(answer);
        assert_eq!((memory.free.available_permits(), memory.reserve.available_permits()), (10, 40));
        assert_eq!(share.split(5).units(), 0);
        // More than there is, is all that may be had.
        drop(other);
        assert!(grow(&memory, &mut share, 1000).await);
        assert_eq!(share.units(), 60);
    }

    #[tokio::test]
    async fn the_bytes_of_an_answer_hold_their_share_to_the_last() {
        let memory = Arc::new(Semaphore::new(10));
        let mut bytes = held(vec![7; 100], Some(Share::of(&memory, 4)));
        let first = bytes.split_to(60);
        drop(bytes);
        assert_eq!((first.len(), memory.available_permits()), (60, 6));
        drop(first);
        assert_eq!(memory.available_permits(), 10);
    }
}
