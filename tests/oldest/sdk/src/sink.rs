//! The sink for an encoder's outcomes, from which they go into the host's cache.

use crate::abi::RawRows;
use crate::guard::guard;
use crate::rows::{Receipt, Rows};
use crate::{Error, Host, ItemError, Latent};

/// Hands rows to the host, and returns when they are stored.
pub(crate) type Store<'a> = dyn FnMut(RawRows) -> Result<Receipt, Error> + Send + 'a;

/// Takes the outcomes of a batch: one for each item, in any order, from [`crate::Encoder::encode`].
///
/// Outcomes that were put are kept, even if `encode` then fails or panics. [`Sink::store`] is for results that must not
/// be lost by then: an answer that was paid for, an hour's work.
pub struct Sink<'a> {
    host: &'a Host,
    store: &'a mut Store<'a>,
    /// True for each item that has its outcome.
    put: Vec<bool>,
    /// The rows that the host does not have yet.
    rows: Rows,
    /// Values of the latents among them.
    width: Option<usize>,
    /// The first broken promise.
    broken: Option<Error>,
}

impl<'a> Sink<'a> {
    fn new(items: usize, host: &'a Host, store: &'a mut Store<'a>) -> Self {
        Self { host, store, put: vec![false; items], rows: Rows::default(), width: None, broken: None }
    }

    /// The host, for requests to stop and status lines.
    pub fn host(&self) -> &'a Host {
        self.host
    }

    /// Puts the outcome of the item at `index` of the batch: its latent, or the reason why it has none.
    ///
    /// An item has one outcome, and the latents between two calls of [`Sink::store`] have one width; a breach ends the
    /// call.
    pub fn put<L: Into<Latent>>(&mut self, index: usize, outcome: Result<L, ItemError>) {
        let outcome = outcome.map(Into::into);
        let items = self.put.len();
        match self.put.get_mut(index) {
            None => return self.breaks(format!("an outcome for item {index} of {items}")),
            Some(true) => return self.breaks(format!("item {index} has two outcomes")),
            Some(put) => *put = true,
        }
        if let Ok(latent) = &outcome {
            let got = latent.values.len();
            if got == 0 {
                return self.breaks(format!("the latent of item {index} has no values"));
            }
            let width = *self.width.get_or_insert(got);
            if got != width {
                return self.breaks(format!("latents of {width} and of {got} values in one batch"));
            }
        }
        self.rows.outcomes.push((index, outcome));
    }

    /// Puts the outcomes of all items, in order.
    pub fn put_all<L: Into<Latent>>(&mut self, outcomes: impl IntoIterator<Item = Result<L, ItemError>>) {
        let (items, mut count) = (self.put.len(), 0);
        for outcome in outcomes {
            if count < items {
                self.put(count, outcome);
            }
            count += 1;
        }
        if count != items {
            self.breaks(format!("wrong number of outcomes: {count} instead of {items}"));
        }
    }

    /// Adds to the batch's usage of a unit such as `tokens` or `requests`, which the host adds up and reports.
    pub fn used(&mut self, unit: &str, amount: f64) {
        match self.rows.usage.get_mut(unit) {
            Some(sum) => *sum += amount,
            None => drop(self.rows.usage.insert(unit.to_owned(), amount)),
        }
    }

    /// Returns when everything that was put is on the host's disk. An `Err` means that the host wants nothing more, or
    /// cannot store: return it.
    pub fn store(&mut self) -> Result<(), Error> {
        let receipt = self.hand_over()?;
        match (&self.broken, receipt.stop) {
            (Some(error), _) => Err(error.clone()),
            (None, true) => Err(Error::stopped()),
            (None, false) => Ok(()),
        }
    }

    fn hand_over(&mut self) -> Result<Receipt, Error> {
        self.width = None;
        match self.rows.is_empty() {
            true => Ok(Receipt::default()),
            false => (self.store)(std::mem::take(&mut self.rows).pack()),
        }
    }

    fn breaks(&mut self, promise: String) {
        self.broken.get_or_insert_with(|| Error::contract(promise));
    }

    /// Hands over the remaining rows after `encode` has ended with this result.
    fn finish(mut self, ended: Result<(), Error>) -> Result<(), Error> {
        self.rows.last = true;
        // After the last rows there is nothing that could be stopped.
        let handed_over = self.hand_over().map(drop);
        ended?;
        self.broken.map_or(Ok(()), Err)?;
        handed_over?;
        match (self.put.iter().filter(|put| !**put).count(), self.put.len()) {
            (0, _) => Ok(()),
            (missing, items) => Err(Error::contract(format!("no outcome for {missing} of {items} items"))),
        }
    }
}

/// Lets `encode` put the outcomes of so many `items`, whose rows go to `store`; a panic becomes an error.
pub(crate) fn fill(
    items: usize,
    host: &Host,
    store: &mut Store<'_>,
    encode: impl FnOnce(&mut Sink<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut sink = Sink::new(items, host, store);
    let ended = guard(|| encode(&mut sink));
    sink.finish(ended)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts a latent as wide as its text is long, and does what the text says.
    fn obey(texts: &[&str], sink: &mut Sink<'_>) -> Result<(), Error> {
        for (index, text) in texts.iter().enumerate() {
            match *text {
                "fail" => return Err(Error::new("on purpose")),
                "panic" => panic!("on purpose"),
                text => sink.put(index, Ok(vec![1.0; text.len()])),
            }
            sink.used("requests", 1.0);
            if text.ends_with('!') {
                sink.store()?;
            }
        }
        Ok(())
    }

    /// Items, width of their latents, whether they are the last.
    type Got = (Vec<usize>, usize, bool);

    /// All rows that the host gets, and the result of the call. The host wants nothing more after so many of them.
    fn encoded(texts: &[&str], wanted: usize) -> (Vec<Got>, Result<(), String>) {
        let mut stored = Vec::new();
        let mut store = |raw: RawRows| {
            let width = raw.width;
            let rows = Rows::unpack(raw, texts.len()).map_err(Error::contract)?;
            // More for one whose latent was refused.
            assert!(rows.usage["requests"] >= rows.outcomes.len() as f64);
            stored.push((rows.outcomes.iter().map(|(item, _)| *item).collect(), width, rows.last));
            Ok(Receipt { stop: stored.len() >= wanted })
        };
        let ended = fill(texts.len(), &Host::detached(), &mut store, |sink| obey(texts, sink));
        (stored, ended.map_err(|error| error.message))
    }

    #[test]
    fn what_was_put_reaches_the_host_however_the_call_ends() {
        assert_eq!(encoded(&[], 9), (vec![], Ok(())));
        assert_eq!(encoded(&["a", "b"], 9), (vec![(vec![0, 1], 1, true)], Ok(())));
        // Only the host knows whether another width after a `store` is right.
        let whole = vec![(vec![0, 1], 2, false), (vec![2], 3, true)];
        assert_eq!(encoded(&["ab", "b!", "abc"], 9), (whole, Ok(())));
        let part = vec![(vec![0], 2, false), (vec![1], 3, true)];
        assert_eq!(encoded(&["a!", "abc", "fail", "d"], 9), (part.clone(), Err("on purpose".to_owned())));
        assert_eq!(encoded(&["a!", "abc", "panic", "d"], 9), (part.clone(), Err("panicked: on purpose".to_owned())));
        let widths = "latents of 3 and of 1 values in one batch".to_owned();
        assert_eq!(encoded(&["a!", "abc", "d"], 9), (part, Err(widths)));
    }

    #[test]
    fn a_host_that_wants_nothing_more_is_heeded() {
        let stopped = Err(Error::stopped().message);
        assert_eq!(encoded(&["a!", "b!", "c"], 2), (vec![(vec![0], 2, false), (vec![1], 2, false)], stopped));
        let last = vec![(vec![0], 2, false), (vec![1], 1, true)];
        assert_eq!(encoded(&["a!", "b"], 2), (last, Ok(())), "after the last rows there is nothing to stop");
    }
}
