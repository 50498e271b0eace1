//! Evaluation: how well the towers find each other.

mod nearest;
mod retrieval;

pub use nearest::nearest;
pub use retrieval::{Items, Retrieval, both_ways, mean_recall};
