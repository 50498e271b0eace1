//! Checks of an encoder's promises.

use fusemix_sdk::check::{Check, Samples, examine};
use fusemix_sdk::rows::{Encoded, Rows};
use fusemix_sdk::{Item, Size};
use std::cell::RefCell;
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
        let checks = examine(&encoder.description, &samples, |items| {
            let (ledger, sum) = &mut *account.borrow_mut();
            sent(&encoder, items, left, ledger, sum).map_err(|error| {
                let mut told = fusemix_sdk::Error::new(error.to_string());
                if let EncodeError::Encoder(error) = &error {
                    told.kind = error.kind().unwrap_or_default();
                }
                told
            })
        });
        allowance.spend(account.into_inner().1.cost);
        Ok(checks)
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
    // What cannot be measured has no tokens: the check is about encoding.
    let sizes: Vec<Size> = encoder.measure(&bytes).unwrap_or_default();
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
