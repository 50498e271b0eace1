//! The page of a run: curves, a table, and what held-out items find, as one HTML file.

mod curves;
mod page;
mod thumbnail;

pub use page::{Page, PageError};
