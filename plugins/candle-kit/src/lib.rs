//! What the candle plugins share: finding a model's files, telling weights apart, choosing a device, layers
//! that are fast on the CPU.

mod device;
mod digest;
mod hub;
pub mod nn;
mod source;

pub use device::device;
pub use digest::digest;
pub use source::Source;

use fusemix_sdk::{Error, OptionKind, OptionSpec};
use std::fmt::Display;

/// The keys that every candle plugin accepts: those that [`Source::locate`] and [`device()`] read.
pub fn options() -> Vec<OptionSpec> {
    vec![
        OptionSpec::new("model", OptionKind::Text, "a folder, a weights file, or a hub id such as org/name").required(),
        OptionSpec::new("revision", OptionKind::Text, "branch, tag or commit of a hub id (default: main)"),
        OptionSpec::new("device", OptionKind::Text, "cpu, cuda or cuda:N (default: cpu)"),
    ]
}

/// A failure of candle, or of anything else that no option would mend, with what was going on.
pub fn failed<E: Display>(doing: impl Display) -> impl FnOnce(E) -> Error {
    move |error| Error::new(format!("{doing}: {error}"))
}
