//! fusemix: one shared space from existing encoders.

// The types of wgpu are deep, and a server's futures hold them.
#![recursion_limit = "256"]

pub mod array_file;
pub mod bytes;
pub mod cache;
#[cfg(feature = "cli")]
pub mod cli;
pub mod config;
pub mod dataset;
pub mod device;
pub mod encode;
pub mod eval;
mod file_lock;
pub mod filter;
pub mod fit;
pub mod gallery;
mod kernels;
pub mod latents;
mod nn;
mod pages;
pub mod pairs;
mod parquet_rows;
pub mod plugin;
mod quiet_panic;
mod regular;
pub mod report;
pub mod run;
#[cfg(feature = "serve")]
pub mod serve;
pub mod session;
pub mod space;
pub mod stop;
mod tensor_file;
mod whole_file;
pub mod wording;

/// The version of this crate.
const VERSION: &str = env!("CARGO_PKG_VERSION");
