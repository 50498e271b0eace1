//! Encoders that do not work: what needs one fails, and the rest of a sweep, or of a probe, goes on.

use fusemix_sdk::ErrorKind;
use std::collections::BTreeMap;

use super::{Error, Session};
use crate::config::{ChosenBy, ConfigError, Recipe, Sweep, TowerEntry};
use crate::encode::EncodeError;
use crate::plugin::EncoderError;
use crate::run::RunFolder;

/// Encoders that do not work, with the reasons.
#[derive(Clone, Debug, Default)]
pub(super) struct Broken(BTreeMap<String, String>);

impl Broken {
    /// Opens the encoders of a recipe. Errors that are the sweep's own mistakes, or a stop, are returned.
    pub(super) fn open(&mut self, session: &Session, sweep: &Sweep, recipe: &Recipe) -> Result<Option<Error>, Error> {
        let mut first = None;
        for name in &encoders(recipe) {
            // Of a name that plugins.toml does not have, the plan tells where it stands.
            if self.has(name) || session.plugins()?.config.encoder(name).is_err() {
                continue;
            }
            match session.encoder(name) {
                Ok(_) => {}
                Err(Error::Encoder(error)) if !is_stop(&error) && !is_of_sweep(&error, sweep) => {
                    self.0.insert(name.clone(), error.to_string());
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

    /// Notes an encoder that is left out for another reason than an error.
    pub(super) fn leave_out(&mut self, encoder: &str, reason: String) {
        self.0.insert(encoder.to_owned(), reason);
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
        self.reason_of(&encoders(recipe))
    }

    /// The reason why what needs these encoders cannot be fitted, if one of them does not work.
    pub(super) fn reason_of(&self, encoders: &[String]) -> Option<&String> {
        encoders.iter().find_map(|name| self.0.get(name))
    }
}

/// The encoders of a recipe's towers, and of the runs that choose among its pairs.
pub(super) fn encoders(recipe: &Recipe) -> Vec<String> {
    let mut all: Vec<String> = recipe.towers.iter().flat_map(TowerEntry::encoders).map(str::to_owned).collect();
    for subset in recipe.pairs.iter().filter_map(|entry| entry.subset.as_ref()) {
        // Of a run that is not there, the plan tells.
        if let ChosenBy::Run(run) = &subset.by
            && let Ok((_, info)) = RunFolder::open(run)
        {
            all.extend(info.towers.into_iter().flat_map(|tower| tower.encoders).map(|encoder| encoder.name));
        }
    }
    all
}

fn is_stop(error: &EncoderError) -> bool {
    error.kind() == Some(ErrorKind::Stopped)
}

/// True for a mistake in what the sweep itself says of an encoder.
fn is_of_sweep(error: &EncoderError, sweep: &Sweep) -> bool {
    let path = sweep.file.path();
    match error {
        EncoderError::Config(ConfigError::At { path: at, .. }) => at == path,
        EncoderError::Open { encoder, cause, .. } => {
            let mut changed = sweep.variations.iter().flat_map(|variation| &variation.encoders);
            changed.any(|of| of.name == *encoder && cause.key.as_ref().is_some_and(|key| of.changes.contains_key(key)))
        }
        _ => false,
    }
}
