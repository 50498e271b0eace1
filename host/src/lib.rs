//! fusemix: one shared space out of encoders that already exist.

pub mod array_file;
pub mod bytes;
pub mod cache;
pub mod cli;
pub mod config;
pub mod dataset;
pub mod device;
pub mod encode;
pub mod eval;
pub mod fusion;
pub mod gallery;
mod kernels;
pub mod latents;
pub mod pairs;
pub mod plugin;
pub mod recipe;
pub mod report;
pub mod run;
mod tensor_file;
pub mod toml_file;
mod whole_file;
