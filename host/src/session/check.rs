//! Checks of an encoder's promises.

use fusemix_sdk::Item;
use fusemix_sdk::check::{Check, Samples, examine};
use fusemix_sdk::rows::{Encoded, Rows};
use std::cell::{Cell, RefCell};
use std::sync::Arc;

use super::budget::Allowance;
use super::encode::items;
use super::{Error, Session};
use crate::cache::Ledger;
use crate::dataset::{Column, Table};
use crate::encode::{EncodeError, afford, call, spent};
use crate::plugin::{EncoderError, LoadedEncoder};

/// Items of the user's that an encoder is tried on.
const TRIED: usize = 3;
/// Bytes that are neither a text nor a file of any format.
const NO_ITEM: [u8; 4] = [0xff, 0xfe, 0x00, 0xff];

impl Session {
    /// Checks what every encoder promises on a few samples of its modality, or on the first items of a table's column.
    /// What that costs is in its account, and within the session's budget.
    pub fn check(&self, encoder: &str, data: Option<(&Table, Option<&str>)>) -> Result<Vec<Check>, Error> {
        let encoder = self.encoder(encoder)?;
        let modality = &encoder.description.modality;
        let no_samples = || Error::NoSamples { encoder: encoder.name.clone(), modality: modality.name().to_owned() };
        let samples = match data {
            Some((table, column)) => first_items(self.column(table, column, &encoder)?, &encoder)?,
            None => Samples::of(modality).ok_or_else(no_samples)?,
        };
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

/// The first items of a column that can be read and are not the same.
fn first_items(column: Column<'_>, encoder: &LoadedEncoder) -> Result<Samples, Error> {
    let items = items(column, encoder);
    let mut good: Vec<Vec<u8>> = Vec::new();
    for row in 0..items.len() {
        match items.read(row) {
            Ok(item) if !is_blank(&item) && !good.iter().any(|other| **other == *item) => good.push(item.into_owned()),
            _ => {}
        }
        if good.len() == TRIED {
            break;
        }
    }
    if good.len() < 2 {
        return Err(Error::FewSamples { path: column.source().to_owned(), column: column.name().to_owned() });
    }
    Ok(Samples { good, bad: NO_ITEM.to_vec() })
}

/// True for a cell of nothing but spaces.
fn is_blank(item: &[u8]) -> bool {
    std::str::from_utf8(item).is_ok_and(|text| text.trim().is_empty())
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
