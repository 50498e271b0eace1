//! Results as self-contained HTML pages: of a run, a classification, and a sweep.

mod classes;
mod curves;
mod page;
mod run;
mod sweep;
mod thumbnail;

pub use classes::of_classes;
pub use page::{Page, PageError};
pub use run::of_run;
pub use sweep::of_sweep;
