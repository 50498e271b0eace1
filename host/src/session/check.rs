//! Checks of an encoder's promises.

use fusemix_sdk::check::{Check, Samples, examine};
use fusemix_sdk::rows::{Encoded, Rows};
use fusemix_sdk::{Item, Size};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::{Error, Session};
use crate::cache::{Ledger, Spent};
use crate::encode::{EncodeError, call, spent};
use crate::plugin::{EncoderError, LoadedEncoder};
use crate::wording::count;

impl Session {
    /// Checks what every encoder promises on a few samples of its modality. What that costs is in its account, and
    /// within the session's budget.
    pub fn check(&self, encoder: &str) -> Result<Vec<Check>, Error> {
        let encoder = self.encoder(encoder)?;
        let modality = &encoder.description.modality;
        let samples = Samples::of(modality).ok_or_else(|| Error::NoSamples { modality: modality.name().to_owned() })?;
        let mut allowance = self.shared.budget.allow(&encoder)?;
        let left = allowance.left();
        let account = RefCell::new((self.ledger(&encoder)?, Spent::default()));
        let (ended, hung) = (RefCell::new(None), Cell::new(false));
        let checks = examine(&encoder.description, &samples, |items| {
            let (ledger, sum) = &mut *account.borrow_mut();
            sent(&encoder, items, left, ledger, sum).map_err(|error| {
                let mut told = fusemix_sdk::Error::new(error.to_string());
                match error {
                    EncodeError::Encoder(error) => {
                        hung.set(hung.get() || matches!(error, EncoderError::Hang { .. }));
                        told.kind = error.kind().unwrap_or_default();
                    }
                    // What could not be tried is neither kept nor broken.
                    error => drop(ended.borrow_mut().get_or_insert(error)),
                }
                told
            })
        });
        allowance.spend(account.into_inner().1.cost);
        if hung.get() {
            self.forget(&encoder);
        }
        match ended.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok(checks),
        }
    }
}

/// The answer to a call that is still affordable; what it costs is added to the `sum`.
fn sent(
    encoder: &Arc<LoadedEncoder>,
    items: &[Item<'_>],
    left: Option<f64>,
    ledger: &mut Ledger,
    sum: &mut Spent,
) -> Result<Encoded, EncodeError> {
    let bytes: Vec<&[u8]> = items.iter().map(|item| item.bytes).collect();
    let sizes: Vec<Size> = encoder.measure(&bytes)?;
    let measured = sizes.iter().map(|size| size.tokens).sum::<u64>();
    let cost = encoder.description.price.unwrap_or_default().of(measured as f64, items.len() as f64);
    let left = left.map(|left| left - sum.cost.unwrap_or(0.0));
    if let Some(left) = left.filter(|left| cost > *left) {
        let items = count(items.len(), "item");
        return Err(EncodeError::Cost { encoder: encoder.name.clone(), items, cost, left });
    }
    let mut pay = |rows: &Rows| {
        let spent = spent(rows, measured, encoder);
        ledger.add(&spent);
        sum.add(&spent);
    };
    call(encoder, bytes.iter().map(|item| item.to_vec()).collect(), &mut pay)
        .map_err(|error: EncoderError| error.into())
}
