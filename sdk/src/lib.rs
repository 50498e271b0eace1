//! The kit for authors of [fusemix](https://docs.rs/fusemix) encoder plugins.
//!
//! A plugin is a `cdylib` that depends on this crate, implements [`Encoder`] and ends with one export line.
//! This is a whole one:
//!
//! ```
//! use fusemix_sdk::{Description, Encoder, Error, Host, Item, Modality, OptionKind, OptionSpec, Options, Sink};
//!
//! /// Counts the letters of a text: 26 values.
//! struct Letters { lowercase: bool }
//!
//! impl Encoder for Letters {
//!     fn options() -> Vec<OptionSpec> {
//!         vec![OptionSpec::new("lowercase", OptionKind::Boolean, "count capitals too (default: true)")]
//!     }
//!     fn open(options: &Options, _: &Host) -> Result<Self, Error> {
//!         Ok(Letters { lowercase: options.get_or("lowercase", true)? })
//!     }
//!     fn describe(&self) -> Description {
//!         Description::new(Modality::Text, 26).batch(64).fingerprint("lowercase", self.lowercase)
//!     }
//!     fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
//!         let count = |item: &Item<'_>| {
//!             let text = item.as_text()?;
//!             let text = if self.lowercase { text.to_lowercase() } else { text.to_owned() };
//!             Ok((b'a'..=b'z').map(|letter| text.bytes().filter(|&b| b == letter).count() as f32).collect::<Vec<_>>())
//!         };
//!         sink.put_all(items.iter().map(count));
//!         Ok(())
//!     }
//! }
//! fusemix_sdk::export!(Letters);
//!
//! // In a test: the promises that every encoder keeps.
//! fusemix_sdk::check::conforms::<Letters>(&Options::default(), None);
//! ```
//!
//! with this Cargo.toml:
//!
//! ```toml
//! [package]
//! name = "letters"            # the plugin's name; fusemix looks for libletters.so, letters.dll, libletters.dylib
//! version = "0.1.0"           # checked against a `version` requirement in plugins.toml
//! edition = "2024"
//!
//! [lib]
//! crate-type = ["cdylib"]     # nothing else: two plugins linked into one program would clash
//!
//! [dependencies]
//! fusemix-sdk = "1"
//! ```
//!
//! # Promises
//! The host relies on everything that [`check`] checks: one outcome for each item; latents of one width, all finite;
//! the same latent for the same item, alone or in a batch, within [`Description::tolerance`]; a bad item that fails
//! alone. A panic is caught at the boundary (so leave `panic = "unwind"` as it is) and ends this encoder's run, not the
//! host.
//!
//! # Results that must not be lost
//! An encoder that pays for its latents, or works long on each, puts them into its [`Sink`] as they arrive, and calls
//! [`Sink::store`] before it continues: from then on they are on the host's disk, whatever happens.
//!
//! # Failures that pass
//! An item whose failure passes by itself is an [`ItemError::passing`]: the host tries it again in the same run, while
//! other items go on, and the next run does if it has not passed by then.
//!
//! ```
//! use fusemix_sdk::ItemError;
//! use std::time::Duration;
//!
//! /// The outcome of an item to which a server gives no answer; it may have said how long to wait.
//! fn no_answer(wait: Option<Duration>) -> ItemError {
//!     let error = ItemError::passing("the server does not answer");
//!     match wait {
//!         Some(wait) => error.after(wait),
//!         None => error,
//!     }
//! }
//! # assert_eq!(no_answer(Some(Duration::from_secs(2))).retry_ms, Some(2000));
//! # assert_eq!(no_answer(None).retry_ms, Some(0));
//! ```
//!
//! # Long calls
//! The host asks a call to stop when the user does, and waits for its end. A call that takes longer than a second looks
//! at [`Host::should_stop`] now and then:
//!
//! ```
//! use fusemix_sdk::{Error, Sink};
//!
//! /// Before each piece of long work.
//! fn go_on(sink: &Sink<'_>) -> Result<(), Error> {
//!     if sink.host().should_stop() { Err(Error::stopped()) } else { Ok(()) }
//! }
//! ```
//!
//! # Versions
//! A plugin built against 1.x of this crate loads in every host of the same major line, older or newer.

pub mod abi;
pub mod check;
mod encoder;
mod error;
pub mod export;
mod guard;
pub mod host;
mod item;
mod options;
pub mod rows;
mod sink;

pub use encoder::{Description, Encoder, ItemKind, Limits, Price, Rate, Size};
pub use error::{Error, ErrorKind, ItemError};
pub use host::Host;
pub use item::{Item, Latent, Modality, Outcome};
pub use options::{OptionKind, OptionSpec, Options};
pub use rows::Encoded;
pub use sink::Sink;
pub use tracing;

/// The version of this crate.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");
