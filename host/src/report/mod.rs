//! What a run looks like: curves, a table, and what held-out items find, as one HTML page.

pub mod curves;
mod page;
mod thumbnail;

pub use page::{Found, Hit, Page, Shown};
pub use thumbnail::Picture;
