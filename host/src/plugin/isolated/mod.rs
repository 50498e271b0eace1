//! Plugins with `isolated = true`: each of their encoders runs in a process of its own, whose crash costs no other.
//!
//! The process is this program, started with [`COMMAND`]. Both sides speak the plugin interface over its standard input
//! and output: a call goes in, rows come out, and the answer to rows goes in.

mod blame;
mod encoder;
mod library;
mod message;
mod process;
mod rows;
mod serve;

pub(super) use encoder::IsolatedEncoder;
pub(super) use library::{IsolatedLibrary, Start};
pub use serve::serve;

/// The command of this program that serves a plugin to another process of it; its argument is the version of that one.
pub const COMMAND: &str = "serve-plugin";
