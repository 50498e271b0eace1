//! Checks of an encoder's promises.

use fusemix_sdk::Item;
use fusemix_sdk::check::{Check, Samples, examine};
use fusemix_sdk::rows::{Encoded, Rows};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::budget::Allowance;
use super::{Error, Session};
use crate::cache::Ledger;
use crate::encode::{EncodeError, afford, call, spent};
use crate::plugin::{EncoderError, LoadedEncoder};

impl Session {
    /// Checks what every encoder promises on a few samples of its modality. What that costs is in its account, and
    /// within the session's budget.
    pub fn check(&self, encoder: &str) -> Result<Vec<Check>, Error> {
        let encoder = self.encoder(encoder)?;
        let modality = &encoder.description.modality;
        let samples = Samples::of(modality).ok_or_else(|| Error::NoSamples { modality: modality.name().to_owned() })?;
        let allowance = self.shared.budget.allow(&encoder)?;
        let account = RefCell::new((self.ledger(&encoder)?, allowance));
        let (ended, hung) = (RefCell::new(None), Cell::new(false));
        let checks = examine(&encoder.description, &samples, |items| {
            let (ledger, allowance) = &mut *account.borrow_mut();
            sent(&encoder, items, ledger, allowance).map_err(|error| {
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
        if hung.get() {
            self.forget(&encoder);
        }
        match ended.into_inner() {
            Some(error) => Err(error.into()),
            None => Ok(checks),
        }
    }
}

/// The answer to a call that is still affordable; what it costs is in the account, and allowed no more.
fn sent(
    encoder: &Arc<LoadedEncoder>,
    items: &[Item<'_>],
    ledger: &mut Ledger,
    allowance: &mut Allowance<'_>,
) -> Result<Encoded, EncodeError> {
    let bytes: Vec<&[u8]> = items.iter().map(|item| item.bytes).collect();
    let measured = encoder.measure(&bytes)?.iter().map(|size| size.tokens).sum::<u64>();
    afford(encoder, measured, items.len(), allowance.left())?;
    let mut pay = |rows: &Rows| {
        let spent = spent(rows, measured, encoder);
        ledger.add(&spent);
        allowance.spend(spent.cost);
    };
    Ok(call(encoder, bytes.iter().map(|item| item.to_vec()).collect(), &mut pay)?)
}
