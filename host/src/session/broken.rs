//! Encoders that do not work: what needs one fails, and the rest of a sweep, or of a probe, goes on.

use fusemix_sdk::ErrorKind;
use std::collections::BTreeMap;

use super::{Error, Session};
use crate::config::{ConfigError, Recipe, Sweep, TowerEntry};
use crate::encode::EncodeError;
use crate::plugin::EncoderError;

/// Encoders that do not work, with the reasons.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(BTreeMap<String, String>);

impl Broken {
    /// Opens the encoders of a recipe. Errors that are the sweep's own mistakes, or a stop, are returned.
    pub(super) fn open(&mut self, session: &Session, sweep: &Sweep, recipe: &Recipe) -> Result<Option<Error>, Error> {
        let mut first = None;
        for name in recipe.towers.iter().flat_map(TowerEntry::encoders) {
            // Of a name that plugins.toml does not have, the plan tells where it stands.
            if self.has(name) || session.plugins()?.config.encoder(name).is_err() {
                continue;
            }
            match session.encoder(name) {
                Ok(_) => {}
                Err(Error::Encoder(error)) if !is_stop(&error) && !is_of_sweep(&error, sweep) => {
                    self.0.insert(name.to_owned(), error.to_string());
                    first.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(first.map(Error::from))
    }

    /// Notes the encoder that an error is of, and gives the error back; it is returned as one if it is of none.
    pub(super) fn note(&mut self, error: Error) -> Result<Error, Error> {
        let of = match &error {
            Error::Encoder(error) | Error::Encode(EncodeError::Encoder(error)) if !is_stop(error) => error.encoder(),
            _ => None,
        };
        let Some(name) = of.map(str::to_owned) else { return Err(error) };
        self.0.insert(name, error.to_string());
        Ok(error)
    }

    /// Those that do not work, with the reasons.
    pub(super) fn all(self) -> BTreeMap<String, String> {
        self.0
    }

    /// True if this encoder does not work.
    pub(super) fn has(&self, encoder: &str) -> bool {
        self.0.contains_key(encoder)
    }

    /// The reason why a recipe cannot be fitted, if one of its encoders does not work.
    pub(super) fn reason(&self, recipe: &Recipe) -> Option<&String> {
        recipe.towers.iter().flat_map(TowerEntry::encoders).find_map(|name| self.0.get(name))
    }
}

fn is_stop(error: &EncoderError) -> bool {
    error.kind() == Some(ErrorKind::Stopped)
}

/// True for a mistake in what the sweep itself says of an encoder.
fn is_of_sweep(error: &EncoderError, sweep: &Sweep) -> bool {
    let path = sweep.file.path();
    match error {
        EncoderError::Config(ConfigError::At { path: at, .. }) => at == path,
        EncoderError::Open { place, .. } => place.starts_with(&format!("{}:", path.display())),
        _ => false,
    }
}
