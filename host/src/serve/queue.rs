//! Requests that wait for a tower's encoders: those that wait at the same time are encoded together.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

use super::error::Refusal;
use crate::dataset::Item;
use crate::session::{Embedding, Model};

/// The embeddings of a request's items, in order.
pub(super) type Answer = Result<Vec<Embedding>, Refusal>;

/// Items of one request.
struct Job {
    items: Vec<Vec<u8>>,
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
    pub(super) fn put(&self, items: Vec<Vec<u8>>) -> Result<oneshot::Receiver<Answer>, Refusal> {
        let mut state = self.state();
        if state.closed {
            return Err(Refusal::ending());
        }
        // A request that is larger than the whole queue waits alone.
        if state.items > 0 && state.items + items.len() > self.most {
            return Err(Refusal::busy(format!(
                "{} items wait for tower `{}` already; send this again later",
                state.items, self.tower
            )));
        }
        let (reply, answer) = oneshot::channel();
        state.items += items.len();
        state.waiting.push_back(Job { items, reply });
        drop(state);
        self.news.notify_one();
        Ok(answer)
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
            let items: Vec<Item<'_>> =
                jobs.iter().flat_map(|job| &job.items).map(|bytes| Item::bytes(bytes.as_slice())).collect();
            let embedded = catch_unwind(AssertUnwindSafe(|| model.embed(&self.tower, &items, store)));
            let embedded = match embedded {
                Ok(embedded) => embedded.map_err(Refusal::from),
                Err(_) => Err(Refusal::failed(format!("tower `{}` failed; the server's log says how", self.tower))),
            };
            drop(items);
            let mut embedded = embedded.map(Vec::into_iter);
            for Job { items, reply } in jobs {
                let answer = match &mut embedded {
                    Ok(embedded) => Ok(embedded.take(items.len()).collect()),
                    Err(error) => Err(error.clone()),
                };
                // Nobody listens where the client has gone.
                let _ = reply.send(answer);
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn items(count: usize) -> Vec<Vec<u8>> {
        vec![b"x".to_vec(); count]
    }

    #[test]
    fn what_waits_is_taken_together_up_to_a_batch() {
        let queue = Queue::new("text", 10, 4);
        let answers: Vec<_> = [1, 2, 2, 5].into_iter().map(|count| queue.put(items(count)).unwrap()).collect();
        assert_eq!(queue.put(items(1)).unwrap_err().status, 429);
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
        drop(queue.put(items(2)).unwrap());
        let _waits = queue.put(items(3)).unwrap();
        let jobs = queue.take().unwrap();
        assert_eq!(jobs.iter().map(|job| job.items.len()).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn a_closed_queue_ends_once_it_is_empty() {
        let queue = Queue::new("text", 10, 4);
        let _waits = queue.put(items(3)).unwrap();
        queue.close();
        assert!(queue.put(items(1)).is_err());
        assert_eq!(queue.take().unwrap().len(), 1);
        assert!(queue.take().is_none());
    }

    #[test]
    fn more_than_the_queue_may_hold_waits_alone() {
        let queue = Queue::new("text", 2, 4);
        let _waits = queue.put(items(5)).unwrap();
        assert_eq!(queue.put(items(1)).unwrap_err().status, 429);
    }
}
