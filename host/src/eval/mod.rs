//! Evaluation: how well the towers find each other.

mod retrieval;

pub use retrieval::{Items, Retrieval, both_ways, mean_recall};
