//! The calls of an encoder that may run at once, whoever makes them.

use std::sync::{Condvar, Mutex, PoisonError};

/// A number of permits.
pub(super) struct Permits {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The right to make a call, until it is dropped.
pub struct Permit<'a>(&'a Permits);

impl Permits {
    pub(super) fn new(calls: usize) -> Self {
        Self { free: Mutex::new(calls), freed: Condvar::new() }
    }

    /// Waits until a call may be made.
    pub(super) fn take(&self) -> Permit<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Permit(self)
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
