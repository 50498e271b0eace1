//! End-to-end tests: they drive the real program with real plugins, as a user would.
#![cfg(test)]
#![allow(missing_docs, reason = "a test's name says what it is for")]

mod aligned;
mod answers;
mod api;
mod author;
mod classify;
mod closed_form;
mod common;
mod devices;
mod docs;
mod encode;
mod evaluate;
mod faults;
mod folders;
mod formats;
mod fuzz;
mod gallery;
mod hub;
mod isolated;
mod library;
mod losses;
mod mistakes;
mod money;
mod pace;
mod passing;
mod plugins;
mod precomputed;
mod probe;
mod protocol;
mod python;
mod recipe;
mod refusals;
mod resume;
mod runs;
mod seed;
mod serve;
mod server;
#[cfg(target_os = "linux")]
mod signals;
mod stores;
#[cfg(unix)]
mod storm;
mod subset;
mod sweep;
mod train;
