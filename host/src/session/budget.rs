//! The money that a session may still spend.

use std::sync::{Mutex, MutexGuard};

use super::{Error, locked};
use crate::plugin::LoadedEncoder;

/// The rest of a session's budget; none for no bound.
pub(super) struct Budget(Mutex<Option<f64>>);

impl Budget {
    pub(super) fn new(most: Option<f64>) -> Self {
        Self(Mutex::new(most))
    }

    /// The right to spend on an encoder. Where there is a bound, others wait meanwhile. An encoder whose plugin has
    /// prices, but which has none, is refused then.
    pub(super) fn allow(&self, encoder: &LoadedEncoder) -> Result<Allowance<'_>, Error> {
        let left = locked(&self.0);
        match left.is_some() {
            true if encoder.lacks_price() => Err(Error::NoPrice { encoder: encoder.name.clone() }),
            true => Ok(Allowance(Some(left))),
            false => Ok(Allowance(None)),
        }
    }
}

/// The right to spend, until it is dropped.
pub(super) struct Allowance<'a>(Option<MutexGuard<'a, Option<f64>>>);

impl Allowance<'_> {
    /// What is left; none for no bound.
    pub(super) fn left(&self) -> Option<f64> {
        self.0.as_deref().copied().flatten()
    }

    pub(super) fn spend(&mut self, cost: Option<f64>) {
        if let (Some(Some(left)), Some(cost)) = (self.0.as_deref_mut(), cost) {
            *left = (*left - cost).max(0.0);
        }
    }
}
