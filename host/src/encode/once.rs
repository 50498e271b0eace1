//! Items that are encoded and not stored, such as queries.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use super::batches::{Sample, pack, samples};
use super::calls::Calls;
use super::later::{Fate, Later};
use super::{EncodeError, TICK, afford, not_finite, spent};
use crate::cache::{Key, Spent};
use crate::plugin::{EncoderError, LoadedEncoder};
use crate::stop::Stop;

/// A latent, or why there is none.
pub type Latent = Result<Vec<f32>, String>;

/// The latents of different items, which have `width` values if that is known. They are sent as an encoding sends them:
/// in batches within the encoder's limits, several at once, and again if they fail for a passing reason, for as long as
/// nobody asks to stop; all of them or, if they cost more than `most`, none. `spend` learns of what was spent.
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
    let (mut latents, mut later, mut paid) = (HashMap::new(), Later::new(encoder), 0.0);
    while !pending.is_empty() || !later.is_empty() || calls.under_way() > 0 {
        if calls.failed() || stop.is_asked() {
            pending.clear();
            later.clear();
            calls.close();
            calls.say_what_is_awaited(stop);
        }
        while let Some(batch) = (!calls.is_full()).then(|| later.due(Instant::now())).flatten() {
            // Tries that had to be paid for count.
            match afford(encoder, batch.size.tokens, batch.samples.len(), most.map(|most| most - paid)) {
                Ok(()) => calls.start(batch),
                Err(error) => {
                    let failed = |sample: &Sample| (sample.key, Err(error.to_string()));
                    latents.extend(batch.samples.iter().map(failed));
                }
            }
        }
        while !pending.is_empty() && !calls.is_full() {
            calls.start(pack(&pending, &encoder.description).take(&mut pending));
        }
        for answer in calls.wait(TICK) {
            let measured = answer.samples().map(|sample| sample.size.tokens).sum();
            let spent = spent(&answer.rows, measured, encoder);
            paid += spent.cost.unwrap_or(0.0);
            spend(&spent);
            if let Some(got) = answer.width() {
                let expected = *width.get_or_insert(got);
                if got != expected {
                    let (encoder, described) = (encoder.name.clone(), encoder.description.width.is_some());
                    calls.fail(EncoderError::Width { encoder, expected, got, described });
                }
            }
            for (sample, outcome) in answer.outcomes() {
                let latent = match outcome {
                    Ok(latent) => finite(&encoder.name, &latent.values),
                    Err(error) => match later.put(sample, error, Instant::now()) {
                        Fate::Later => continue,
                        Fate::Over(reason) => Err(reason),
                        Fate::Dead(error) => {
                            calls.fail(error);
                            continue;
                        }
                    },
                };
                latents.insert(sample.key, latent);
            }
        }
        calls.release(calls.failed() || stop.is_asked());
    }
    calls.into_error().map_or(Ok(latents), |error| Err(error.into()))
}

fn finite(encoder: &str, values: &[f32]) -> Latent {
    not_finite(encoder, values).map_or_else(|| Ok(values.to_vec()), Err)
}
