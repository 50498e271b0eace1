//! The host's end of a call: valid rows are passed on, invalid ones end the call.

use abi_stable::std_types::{RResult, RString};
use fusemix_sdk::Error;
use fusemix_sdk::abi::{RawRows, RawSink};
use fusemix_sdk::rows::{Receipt, Rows};

/// Takes rows of a call, and returns when they are stored, or immediately if they are the last.
pub type Deliver<'a> = dyn FnMut(Rows) -> Result<Receipt, Error> + Send + Sync + 'a;

/// The sink of one call.
pub(super) struct Intake<'a, 'b> {
    /// True for each item whose outcome has arrived.
    answered: Vec<bool>,
    store: &'a mut Deliver<'b>,
    /// The first breach of the interface.
    broken: Option<String>,
}

impl<'a, 'b> Intake<'a, 'b> {
    /// The intake of a call with so many `items`.
    pub(super) fn new(items: usize, store: &'a mut Deliver<'b>) -> Self {
        Self { answered: vec![false; items], store, broken: None }
    }

    fn take(&mut self, rows: RawRows) -> Result<Rows, String> {
        let rows = Rows::unpack(rows, self.answered.len())?;
        for (item, _) in &rows.outcomes {
            if std::mem::replace(&mut self.answered[*item], true) {
                return Err(format!("item {item} has two outcomes"));
            }
        }
        Ok(rows)
    }

    /// The call's breach of the interface, if any; a call that ended `well` must have answered every item.
    pub(super) fn end(self, well: bool) -> Result<(), String> {
        let missing = self.answered.iter().filter(|answered| !**answered).count();
        match self.broken {
            Some(reason) => Err(reason),
            None if well && missing > 0 => Err(format!("no outcome for {missing} of {} items", self.answered.len())),
            None => Ok(()),
        }
    }
}

impl RawSink for Intake<'_, '_> {
    // A panic in here would end the program: the plugin is the caller.
    fn store(&mut self, rows: RawRows) -> RResult<RString, RString> {
        let stored = match self.take(rows) {
            Ok(rows) => (self.store)(rows),
            Err(reason) => {
                self.broken.get_or_insert_with(|| reason.clone());
                Err(Error::new(format!("the host rejects these rows: {reason}")))
            }
        };
        // Neither holds anything that JSON cannot.
        let json = |result: serde_json::Result<String>| result.unwrap_or_default().into();
        match stored {
            Ok(receipt) => RResult::ROk(json(serde_json::to_string(&receipt))),
            Err(error) => RResult::RErr(json(serde_json::to_string(&error))),
        }
    }
}

#[cfg(test)]
mod tests {
    use fusemix_sdk::Outcome;

    use super::*;

    #[test]
    fn rows_that_break_the_interface_are_not_stored() {
        let rows = |items: &[usize]| {
            let outcome = |&item: &usize| (item, Outcome::Ok(vec![1.0].into()));
            Rows { outcomes: items.iter().map(outcome).collect(), ..Rows::default() }.pack()
        };
        let ended = |answers: &[&[usize]], well| {
            let mut stored = 0;
            let mut store = |rows: Rows| {
                stored += rows.outcomes.len();
                Ok(Receipt::default())
            };
            let mut intake = Intake::new(3, &mut store);
            let taken = answers.iter().filter(|items| intake.store(rows(items)).is_ok()).count();
            let ended = intake.end(well);
            (taken, stored, ended)
        };
        let broken = |reason: &str| Err(reason.to_owned());
        assert_eq!(ended(&[&[2, 0], &[1]], true), (2, 3, Ok(())));
        assert_eq!(ended(&[&[2, 0]], false), (1, 2, Ok(())));
        assert_eq!(ended(&[&[2, 0]], true), (1, 2, broken("no outcome for 1 of 3 items")));
        assert_eq!(ended(&[&[0], &[1, 0], &[3], &[2]], true), (2, 2, broken("item 0 has two outcomes")));
        assert_eq!(ended(&[&[3]], true), (0, 0, broken("an outcome for item 3 of 3")));
    }
}
