//! Requests that wait for a tower's encoders: those that wait at the same time are encoded together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

use super::error::Refusal;
use super::memory::Share;
use crate::dataset::Item;
use crate::session::{Embedding, Model};

/// The embeddings of a request's items, in order.
pub(super) type Answer = Result<Vec<Embedding>, Refusal>;

/// The shares of the memory that a request's items are in.
pub(super) type Shares = Arc<(Arc<Share>, Vec<Share>)>;

/// Items of one request.
struct Job {
    items: Vec<Vec<u8>>,
    /// Held until the items are done, even where the client has gone before.
    _shares: Option<Shares>,
    reply: oneshot::Sender<Answer>,
}

/// The requests for a tower.
pub(super) struct Queue {
    tower: String,
    /// Items that may wait.
    most: usize,
    /// Items that are encoded in one call, but for a request that has more.
    together: usize,
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    items: usize,
    closed: bool,
}

impl Queue {
    /// A queue for a tower in which so many items may wait, of which so many are encoded in one call.
    pub(super) fn new(tower: &str, most: usize, together: usize) -> Self {
        Self { tower: tower.to_owned(), most, together, state: Mutex::default(), news: Condvar::new() }
    }

    /// Items that wait.
    pub(super) fn len(&self) -> usize {
        self.state().items
    }

    /// Has items embedded; their embeddings come through what is returned.
    pub(super) fn put(
        &self,
        items: Vec<Vec<u8>>,
        shares: Option<Shares>,
    ) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::ending());
        }
        let is_full = |state: &State| state.items > 0 && state.items + items.len() > self.most;
        if is_full(&state) {
            state.sweep();
        }
        // A request that is larger than the whole queue waits alone.
        if is_full(&state) {
            return Err(Refusal::busy(format!(
                "{} items wait for tower `{}` already; send this again later",
                state.items, self.tower
            )));
        }
        let (reply, answer) = oneshot::channel();
        state.items += items.len();
        state.waiting.push_back(Job { items, _shares: shares, reply });
        drop(state);
        self.news.notify_one();
        Ok(answer)
    }

    /// Drops the requests whose clients have gone.
    pub(super) fn sweep(&self) {
        self.state().sweep();
    }

    /// Refuses what comes from now on; what waits is still done.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.news.notify_all();
    }

    /// Embeds what comes until the queue is closed and empty. What has come is taken at once, and nothing is waited
    /// for: a lone request goes alone, and those that come while all threads are in a call go together.
    pub(super) fn work(&self, model: &Model, store: bool) {
        while let Some(jobs) = self.take() {
            answer(jobs, |items| {
                let embedded = catch_unwind(AssertUnwindSafe(|| model.embed(&self.tower, items, store)));
                match embedded {
                    Ok(embedded) => embedded.map_err(Refusal::from),
                    Err(_) => Err(Refusal::failed(format!("tower `{}` failed; the server's log says how", self.tower))),
                }
            });
        }
    }

    /// The next requests, without those whose clients have gone; none at the end.
    fn take(&self) -> Option<Vec<Job>> {
        let mut state = self.state();
        loop {
            let (mut jobs, mut items) = (Vec::new(), 0);
            while let Some(job) = state.waiting.front() {
                let count = job.items.len();
                if items > 0 && items + count > self.together {
                    break;
                }
                let job = state.waiting.pop_front().expect("there is one");
                state.items -= count;
                if !job.reply.is_closed() {
                    items += count;
                    jobs.push(job);
                }
            }
            if !jobs.is_empty() {
                return Some(jobs);
            }
            if state.closed {
                return None;
            }
            state = self.news.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Drops the requests whose clients have gone.
    fn sweep(&mut self) {
        self.waiting.retain(|job| !job.reply.is_closed());
        self.items = self.waiting.iter().map(|job| job.items.len()).sum();
    }
}

/// Answers requests with what `embed` makes of all their items at once. Where that fails as a whole, each request is
/// embedded alone, so that none fails by the items of another.
fn answer(jobs: Vec<Job>, embed: impl Fn(&[Item<'_>]) -> Answer) {
    let of = |jobs: &[Job]| {
        let items = jobs.iter().flat_map(|job| &job.items).map(|bytes| Item::bytes(bytes.as_slice()));
        embed(&items.collect::<Vec<_>>())
    };
    let mut together = of(&jobs).map(Vec::into_iter);
    let is_alone = jobs.len() == 1;
    for job in jobs {
        let answer = match &mut together {
            Ok(embedded) => Ok(embedded.take(job.items.len()).collect()),
            Err(error) if is_alone => Err(error.clone()),
            Err(_) if job.reply.is_closed() => continue,
            Err(_) => of(std::slice::from_ref(&job)),
        };
        // Nobody listens where the client has gone.
        let _ = job.reply.send(answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(queue: &Queue, items: Vec<Vec<u8>>) -> Result<oneshot::Receiver<Answer>, Refusal> {
        queue.put(items, None)
    }

    fn items(count: usize) -> Vec<Vec<u8>> {
        vec![b"x".to_vec(); count]
    }

    #[test]
    fn what_waits_is_taken_together_up_to_a_batch() {
        let queue = Queue::new("text", 10, 4);
        let answers: Vec<_> = [1, 2, 2, 5].into_iter().map(|count| put(&queue, items(count)).unwrap()).collect();
        assert_eq!(put(&queue, items(1)).unwrap_err().status, 429);
        let taken = || queue.take().unwrap().iter().map(|job| job.items.len()).collect::<Vec<_>>();
        assert_eq!(taken(), [1, 2]);
        assert_eq!(taken(), [2]);
        assert_eq!(taken(), [5], "a request is not divided");
        assert_eq!(queue.len(), 0);
        drop(answers);
    }

    #[test]
    fn a_client_that_has_gone_is_not_served() {
        let queue = Queue::new("text", 10, 4);
        drop(put(&queue, items(2)).unwrap());
        let _waits = put(&queue, items(3)).unwrap();
        let jobs = queue.take().unwrap();
        assert_eq!(jobs.iter().map(|job| job.items.len()).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_closed_queue_ends_once_it_is_empty() {
        let queue = Queue::new("text", 10, 4);
        let _waits = put(&queue, items(3)).unwrap();
        queue.close();
        assert!(put(&queue, items(1)).is_err());
        assert_eq!(queue.take().unwrap().len(), 1);
        assert!(queue.take().is_none());
    }

    #[test]
    fn more_than_the_queue_may_hold_waits_alone() {
        let queue = Queue::new("text", 2, 4);
        let _waits = put(&queue, items(5)).unwrap();
        assert_eq!(put(&queue, items(1)).unwrap_err().status, 429);
    }

    #[test]
    fn clients_that_have_gone_make_room() {
        let queue = Queue::new("text", 4, 4);
        let memory = Arc::new(tokio::sync::Semaphore::new(8));
        let share = || Share::of(&memory, 1);
        let waits = queue.put(items(1), Some(Arc::new((Arc::new(share()), Vec::new())))).unwrap();
        drop(queue.put(items(3), Some(Arc::new((Arc::new(share()), vec![share()])))).unwrap());
        assert_eq!((queue.len(), memory.available_permits()), (4, 5), "its items are in memory still");
        let _also = put(&queue, items(2)).unwrap();
        assert_eq!((queue.len(), memory.available_permits()), (3, 7));
        drop(waits);
        queue.sweep();
        assert_eq!((queue.len(), memory.available_permits()), (2, 8));
    }

    #[test]
    fn a_request_does_not_fail_by_the_items_of_another() {
        let queue = Queue::new("text", 10, 10);
        let answers = [&b"good"[..], b"bad", b"fine"].map(|bytes| put(&queue, vec![bytes.to_vec()]).unwrap());
        let gone = put(&queue, items(1)).unwrap();
        let jobs = queue.take().unwrap();
        drop(gone);
        let calls = std::cell::Cell::new(0);
        answer(jobs, |items| {
            calls.set(calls.get() + 1);
            let words: Vec<_> = items.iter().map(|item| item.clone().read().unwrap().into_owned()).collect();
            match words.iter().any(|word| word == b"bad") {
                true => Err(Refusal::failed("broken")),
                false => Ok(words.iter().map(|word| Ok(vec![word.len() as f32])).collect()),
            }
        });
        let [good, bad, fine] = answers.map(|mut answer| answer.try_recv().unwrap());
        assert_eq!(good.unwrap(), [Ok(vec![4.0])]);
        assert_eq!(bad.unwrap_err().status, 500);
        assert_eq!(fine.unwrap(), [Ok(vec![4.0])]);
        assert_eq!(calls.get(), 4, "all at once, and each alone but for the one that has gone");
    }
}
