//! The stop flag, shared by workers and those who may ask them to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A flag that is raised once; its copies share one state.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

/// True if work is to go on, of which so much is done and so much there is.
pub type GoOn<'a> = &'a dyn Fn(usize, usize) -> bool;

impl Stop {
    /// Asks all workers to stop.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True if the flag is raised.
    pub fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Tells work that it is to go on, however far it is, until the flag is raised.
    pub fn go_on(&self) -> impl Fn(usize, usize) -> bool + use<'_> {
        |_, _| !self.is_asked()
    }
}
