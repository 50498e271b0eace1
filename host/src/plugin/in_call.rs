//! The plugins that have been called and have not returned, for a message if one of them ends the program.

use std::collections::BTreeMap;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, PoisonError};

/// Calls that are known at once; further ones are not.
const CALLS: usize = 64;

/// The name of a plugin, which lives as long as the program.
type Name = &'static str;

static CALLED: [AtomicPtr<Name>; CALLS] = [const { AtomicPtr::new(null_mut()) }; CALLS];

/// A call of a plugin, until it is dropped.
pub(super) struct InCall(Option<usize>);

impl InCall {
    pub(super) fn of(plugin: &str) -> Self {
        let name = interned(plugin);
        let free = |slot: &AtomicPtr<Name>| {
            slot.compare_exchange(null_mut(), name, Ordering::AcqRel, Ordering::Relaxed).is_ok()
        };
        Self(CALLED.iter().position(free))
    }
}

impl Drop for InCall {
    fn drop(&mut self) {
        if let Some(slot) = self.0 {
            CALLED[slot].store(null_mut(), Ordering::Release);
        }
    }
}

/// The name of each plugin that is in a call. A signal handler may ask: nothing is locked or allocated.
pub fn plugins_in_call() -> impl Iterator<Item = &'static str> {
    CALLED.iter().filter_map(|slot| {
        // SAFETY: a pointer that is not null was made by `interned`, which never frees it.
        unsafe { slot.load(Ordering::Acquire).as_ref() }.copied()
    })
}

/// The one pointer to a plugin's name.
fn interned(plugin: &str) -> *mut Name {
    static NAMES: Mutex<BTreeMap<String, usize>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let address = *names.entry(plugin.to_owned()).or_insert_with(|| {
        let name: Name = Box::leak(plugin.to_owned().into_boxed_str());
        Box::into_raw(Box::new(name)).expose_provenance()
    });
    std::ptr::with_exposed_provenance_mut(address)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_known_until_it_ends() {
        let named = |name: &str| plugins_in_call().filter(|called| *called == name).count();
        assert_eq!(named("in-call-test"), 0);
        let first = InCall::of("in-call-test");
        let second = InCall::of("in-call-test");
        assert_eq!(named("in-call-test"), 2);
        drop(first);
        assert_eq!(named("in-call-test"), 1);
        drop(second);
        assert_eq!(named("in-call-test"), 0);
        // More than fit are calls all the same.
        drop((0..2 * CALLS).map(|_| InCall::of("in-call-many")).collect::<Vec<_>>());
        assert_eq!(named("in-call-many"), 0);
    }
}
