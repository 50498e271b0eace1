//! Checks of an encoder's promises.

use fusemix_sdk::check::{Check, Samples, examine};

use super::{Error, Session};
use crate::encode::call;

impl Session {
    /// Checks what every encoder promises on a few samples of its modality.
    pub fn check(&self, encoder: &str) -> Result<Vec<Check>, Error> {
        let encoder = self.encoder(encoder)?;
        let modality = &encoder.description.modality;
        let samples = Samples::of(modality).ok_or_else(|| Error::NoSamples { modality: modality.name().to_owned() })?;
        Ok(examine(&encoder.description, &samples, |items| {
            let items = items.iter().map(|item| item.bytes.to_vec()).collect();
            call(&encoder, items).map_err(|error| {
                let mut told = fusemix_sdk::Error::new(error.to_string());
                told.kind = error.kind().unwrap_or_default();
                told
            })
        }))
    }
}
