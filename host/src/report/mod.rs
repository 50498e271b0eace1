//! The report of a run: curves, a table, and the results of held-out items, as one HTML page.

pub mod curves;
mod page;
mod thumbnail;

pub use page::{Found, Hit, Page, Shown};
pub use thumbnail::Picture;
