//! The money that a session may still spend.

use std::sync::Mutex;

use super::{Error, locked};
use crate::plugin::LoadedEncoder;

/// The rest of a session's budget; none for no bound.
pub(super) struct Budget(Mutex<Option<f64>>);

impl Budget {
    pub(super) fn new(most: Option<f64>) -> Self {
        Self(Mutex::new(most))
    }

    /// What an encoder may still cost. One whose plugin has prices, but which has none, is refused.
    pub(super) fn left(&self, encoder: &LoadedEncoder) -> Result<Option<f64>, Error> {
        let left = *locked(&self.0);
        match left.is_some() && encoder.lacks_price() {
            true => Err(Error::NoPrice { encoder: encoder.name.clone() }),
            false => Ok(left),
        }
    }

    pub(super) fn spend(&self, cost: Option<f64>) {
        if let (Some(left), Some(cost)) = (&mut *locked(&self.0), cost) {
            *left = (*left - cost).max(0.0);
        }
    }
}
