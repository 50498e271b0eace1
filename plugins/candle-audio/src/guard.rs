//! A panic over one item is that item's failure, and no other's.

use fusemix_sdk::ItemError;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` makes of an item; `doing` says what that is.
pub(crate) fn guarded<T>(doing: &str, work: impl FnOnce() -> Result<T, ItemError>) -> Result<T, ItemError> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ItemError::new(format!("this plugin panicked while {doing}; the log says where"))))
}
