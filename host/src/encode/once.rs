//! Items that are encoded and not stored, such as queries.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::batches::{Sample, pack, samples};
use super::calls::Calls;
use super::{EncodeError, TICK, afford, not_finite, spent};
use crate::cache::{Key, Spent};
use crate::plugin::{EncoderError, LoadedEncoder};
use crate::stop::Stop;

/// A latent, or why there is none.
pub type Latent = Result<Vec<f32>, String>;

/// The latents of different items, which have `width` values if that is known. They are sent as an encoding sends them:
/// in batches within the encoder's limits, several at once, for as long as nobody asks to stop; all of them or, if they
/// cost more than `most`, none. `spend` learns of what was spent.
pub fn encode_once(
    items: Vec<(Key, Vec<u8>)>,
    encoder: &Arc<LoadedEncoder>,
    mut width: Option<usize>,
    most: Option<f64>,
    stop: &Stop,
    spend: &mut dyn FnMut(&Spent),
) -> Result<HashMap<Key, Latent>, EncodeError> {
    let mut pending: VecDeque<Sample> = samples(items, encoder)?.collect();
    afford(encoder, pending.iter().map(|sample| sample.size.tokens).sum(), pending.len(), most)?;
    let mut calls = Calls::new(encoder.clone());
    let mut latents = HashMap::new();
    while !pending.is_empty() || calls.under_way() > 0 {
        if calls.failed() || stop.is_asked() {
            pending.clear();
            calls.close();
        }
        while !pending.is_empty() && !calls.is_full() {
            calls.start(pack(&pending, &encoder.description).take(&mut pending));
        }
        for answer in calls.wait(TICK) {
            let measured = answer.samples().map(|sample| sample.size.tokens).sum();
            spend(&spent(&answer.rows, measured, encoder));
            if let Some(got) = answer.width() {
                let expected = *width.get_or_insert(got);
                if got != expected {
                    let (encoder, described) = (encoder.name.clone(), encoder.description.width.is_some());
                    calls.fail(EncoderError::Width { encoder, expected, got, described });
                }
            }
            let keys: Vec<Key> = answer.samples().map(|sample| sample.key).collect();
            let outcomes = answer.rows.outcomes.into_iter().map(|(_, outcome)| outcome);
            latents.extend(keys.into_iter().zip(outcomes.map(|outcome| finite(&encoder.name, outcome))));
        }
        calls.release(calls.failed() || stop.is_asked());
    }
    calls.into_error().map_or(Ok(latents), |error| Err(error.into()))
}

fn finite(encoder: &str, outcome: fusemix_sdk::Outcome) -> Latent {
    let values = outcome.map_err(|error| error.message)?.values;
    not_finite(encoder, &values).map_or(Ok(values), Err)
}
