//! Conformance checks: the promises of every encoder, tested on a few items.
//!
//! An author calls [`conforms`] in one test; `fusemix plugins check ENCODER` runs [`examine`] on the loaded plugin.

use crate::rows::{Encoded, Receipt, Rows};
use crate::{Description, Encoder, Error, ErrorKind, Host, Item, Modality, Options, Outcome, sink};

/// Items to try an encoder on.
#[derive(Clone, Debug)]
pub struct Samples {
    /// Items that encode; at least two, all different.
    pub good: Vec<Vec<u8>>,
    /// An item that cannot be encoded.
    pub bad: Vec<u8>,
}

impl Samples {
    /// Samples of the built-in modalities: texts, PNG images, WAV sounds. None for a custom modality.
    pub fn of(modality: &Modality) -> Option<Self> {
        let good = match modality {
            Modality::Text => ["a red flower", "The quick brown fox jumps over the lazy dog.", "été à 北京 🙂"]
                .map(|text| text.as_bytes().to_vec())
                .to_vec(),
            Modality::Image => vec![
                include_bytes!("../samples/gradient.png").to_vec(),
                include_bytes!("../samples/disc.png").to_vec(),
                include_bytes!("../samples/checkers.png").to_vec(),
            ],
            Modality::Audio => [220.0, 440.0, 1000.0].map(|hertz| wav(hertz, 8_000)).to_vec(),
            Modality::Other(_) => return None,
        };
        Some(Self { good, bad: vec![0xff, 0xfe, 0x00, 0xff] })
    }
}

/// One second of a sine as 16-bit mono WAV.
fn wav(hertz: f32, rate: u32) -> Vec<u8> {
    let samples = (0..rate).map(|at| {
        let phase = at as f32 * hertz / rate as f32 * std::f32::consts::TAU;
        (phase.sin() * 16_000.0) as i16
    });
    let mut file = Vec::with_capacity(44 + 2 * rate as usize);
    file.extend_from_slice(b"RIFF");
    file.extend((36 + 2 * rate).to_le_bytes());
    file.extend_from_slice(b"WAVEfmt ");
    file.extend(16u32.to_le_bytes());
    file.extend([1u16, 1].iter().flat_map(|field| field.to_le_bytes()));
    file.extend([rate, 2 * rate].iter().flat_map(|field| field.to_le_bytes()));
    file.extend([2u16, 16].iter().flat_map(|field| field.to_le_bytes()));
    file.extend_from_slice(b"data");
    file.extend((2 * rate).to_le_bytes());
    file.extend(samples.flat_map(i16::to_le_bytes));
    file
}

/// The result of checking one promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// The promise.
    pub promise: &'static str,
    /// The violation; none if the promise was kept.
    pub broken: Option<String>,
}

/// Opens `E` and panics with a list of the promises that it breaks; to be called in a test of your plugin.
pub fn conforms<E: Encoder>(options: &Options, samples: Option<Samples>) {
    let host = Host::detached();
    let encoder = E::open(options, &host).unwrap_or_else(|error| panic!("cannot open the encoder: {error}"));
    let description = encoder.describe();
    let samples = samples.or_else(|| Samples::of(&description.modality));
    let samples = samples.expect("a custom modality needs custom samples");
    let checks = examine(&description, &samples, |items| encode(&encoder, items));
    let broken: Vec<String> =
        checks.iter().filter_map(|check| Some(format!("{}: {}", check.promise, check.broken.as_ref()?))).collect();
    assert!(broken.is_empty(), "the encoder breaks its promises:\n{}", broken.join("\n"));
}

/// All outcomes of a batch, or the error that the host would receive.
pub fn encode<E: Encoder>(encoder: &E, items: &[Item<'_>]) -> Result<Encoded, Error> {
    let mut encoded = Encoded::awaited(items.len());
    let mut store = |rows| {
        encoded.take(Rows::unpack(rows, items.len()).map_err(Error::contract)?);
        Ok(Receipt::default())
    };
    sink::fill(items.len(), &Host::detached(), &mut store, |sink| encoder.encode(items, sink))?;
    Ok(encoded)
}

/// Checks an encoder's promises. If good items do not encode, nothing else is checked.
pub fn examine(
    description: &Description,
    samples: &Samples,
    encode: impl Fn(&[Item<'_>]) -> Result<Encoded, Error>,
) -> Vec<Check> {
    let items: Vec<Item<'_>> = samples.good.iter().map(|bytes| Item::new(&description.modality, bytes)).collect();
    let bad = Item::new(&description.modality, &samples.bad);
    let mut checks = Vec::new();
    let mut check = |promise, kept: Result<(), String>| checks.push(Check { promise, broken: kept.err() });

    let answer = encode(&items);
    let batch = answer.as_ref().map_err(ToString::to_string).and_then(|encoded| latents(encoded, items.len()));
    if let Some(kept) = one_each(&answer, items.len()) {
        check("each item gets one outcome, all of one width", kept);
    }
    check("a batch of good items encodes", batch.as_ref().map(drop).map_err(String::clone));
    let Ok(batch) = batch else { return checks };
    let again = |items: &[Item<'_>]| latents(&encode(items).map_err(|error| error.to_string())?, items.len());
    check("every latent has the described width", widths(description, &batch));
    check("every value is finite", finite(&batch));
    check("different items get different latents", different(&batch));
    check(
        "the same items get the same latents",
        again(&items).and_then(|again| agree(&batch, &again, description.tolerance)),
    );
    let singles = items.iter().map(|&item| Ok(again(&[item])?.remove(0))).collect::<Result<Vec<_>, String>>();
    check(
        "a batch equals its items one by one",
        singles.and_then(|singles| agree(&batch, &singles, description.tolerance)),
    );
    check("a bad item fails alone", fails_alone(&encode, &items, bad, &batch, description.tolerance));
    check(
        "an empty batch is answered with nothing",
        encode(&[]).map_err(|error| error.to_string()).and_then(|encoded| match encoded.outcomes.len() {
            0 => Ok(()),
            outcomes => Err(format!("wrong number of outcomes: {outcomes} instead of 0")),
        }),
    );
    checks
}

/// Checks for one outcome per item; none if the batch failed for another reason.
fn one_each(answer: &Result<Encoded, Error>, items: usize) -> Option<Result<(), String>> {
    match answer {
        Err(error) => (error.kind == ErrorKind::Contract).then(|| Err(error.to_string())),
        Ok(encoded) if encoded.outcomes.len() != items => {
            Some(Err(format!("wrong number of outcomes: {} instead of {items}", encoded.outcomes.len())))
        }
        Ok(_) => Some(Ok(())),
    }
}

fn latents(encoded: &Encoded, items: usize) -> Result<Vec<Vec<f32>>, String> {
    if encoded.outcomes.len() != items {
        return Err(format!("wrong number of outcomes: {} instead of {items}", encoded.outcomes.len()));
    }
    let values = |(index, outcome): (usize, &Outcome)| match outcome {
        Ok(latent) => Ok(latent.values.clone()),
        Err(error) => Err(format!("item {index}: {error}")),
    };
    encoded.outcomes.iter().enumerate().map(values).collect()
}

fn widths(description: &Description, batch: &[Vec<f32>]) -> Result<(), String> {
    let expected = description.width.or(batch.first().map(Vec::len));
    match batch.iter().position(|latent| Some(latent.len()) != expected) {
        Some(index) => Err(format!("item {index} has {} values, not {}", batch[index].len(), expected.unwrap_or(0))),
        None => Ok(()),
    }
}

fn finite(batch: &[Vec<f32>]) -> Result<(), String> {
    for (index, latent) in batch.iter().enumerate() {
        if let Some(at) = latent.iter().position(|value| !value.is_finite()) {
            return Err(format!("item {index} has {} at position {at}", latent[at]));
        }
    }
    Ok(())
}

fn different(batch: &[Vec<f32>]) -> Result<(), String> {
    match batch.windows(2).position(|pair| pair[0] == pair[1]) {
        Some(index) => Err(format!("items {index} and {} have the same latent", index + 1)),
        None => Ok(()),
    }
}

/// Checks that the L2 distance of each pair of latents, relative to the first one's length, is within `tolerance`.
fn agree(first: &[Vec<f32>], second: &[Vec<f32>], tolerance: f32) -> Result<(), String> {
    for (index, (a, b)) in first.iter().zip(second).enumerate() {
        let norm = a.iter().map(|value| value * value).sum::<f32>().sqrt();
        let distance = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        if a.len() != b.len() || distance.is_nan() || distance > tolerance * norm {
            return Err(format!(
                "item {index} moved by {:.1e} of its length; allowed: {tolerance:.1e}",
                distance / norm
            ));
        }
    }
    Ok(())
}

fn fails_alone(
    encode: &impl Fn(&[Item<'_>]) -> Result<Encoded, Error>,
    items: &[Item<'_>],
    bad: Item<'_>,
    batch: &[Vec<f32>],
    tolerance: f32,
) -> Result<(), String> {
    let middle = items.len() / 2;
    let mut mixed = items.to_vec();
    mixed.insert(middle, bad);
    let mut outcomes = encode(&mixed).map_err(|error| format!("the whole batch failed: {error}"))?.outcomes;
    if outcomes.len() != mixed.len() {
        return Err(format!("wrong number of outcomes: {} instead of {}", outcomes.len(), mixed.len()));
    }
    if outcomes.remove(middle).is_ok() {
        return Err("it got a latent".into());
    }
    let others = outcomes.into_iter().map(|outcome| outcome.map(|latent| latent.values));
    let others =
        others.collect::<Result<Vec<_>, _>>().map_err(|error| format!("a good item failed with it: {error}"))?;
    agree(batch, &others, tolerance)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ItemError, Sink};
    use std::cell::Cell;

    /// Length and first byte of an item; an item that begins with 0xff is bad.
    fn outcome(item: &Item<'_>) -> Outcome {
        match item.bytes {
            [0xff, ..] => Err(ItemError::new("bad")),
            bytes => Ok(vec![bytes.len() as f32, f32::from(bytes[0])].into()),
        }
    }

    fn all(items: &[Item<'_>]) -> Vec<Outcome> {
        items.iter().map(outcome).collect()
    }

    /// The promises that an encoder breaks.
    fn broken(encode: impl Fn(&[Item<'_>]) -> Result<Vec<Outcome>, Error>) -> Vec<&'static str> {
        let samples = Samples::of(&Modality::Text).unwrap();
        let encode = |items: &[Item<'_>]| {
            let mut encoded = Encoded::awaited(0);
            encoded.outcomes = encode(items)?;
            Ok(encoded)
        };
        let checks = examine(&Description::new(Modality::Text, 2), &samples, encode);
        checks.into_iter().filter(|check| check.broken.is_some()).map(|check| check.promise).collect()
    }

    #[test]
    fn each_broken_promise_is_found() {
        assert_eq!(broken(|items| Ok(all(items))), [""; 0]);
        assert_eq!(broken(|_| Err(Error::new("no"))), ["a batch of good items encodes"]);
        let longer = |outcome: Outcome| outcome.map(|latent| [&latent.values[..], &[1.0]].concat().into());
        assert_eq!(
            broken(|items| Ok(all(items).into_iter().map(longer).collect())),
            ["every latent has the described width"]
        );
        let nan = |outcome: Outcome| outcome.map(|latent| vec![latent.values[0], f32::NAN].into());
        assert!(broken(|items| Ok(all(items).into_iter().map(nan).collect())).contains(&"every value is finite"));
        let same = |outcome: Outcome| outcome.map(|_| vec![1.0, 2.0].into());
        assert_eq!(
            broken(|items| Ok(all(items).into_iter().map(same).collect())),
            ["different items get different latents"]
        );
        let calls = Cell::new(0.0);
        let drifting =
            |outcome: Outcome| outcome.map(|latent| vec![latent.values[0] + calls.get(), latent.values[1]].into());
        let found = broken(|items| {
            calls.set(calls.get() + 1.0);
            Ok(all(items).into_iter().map(drifting).collect())
        });
        assert!(found.contains(&"the same items get the same latents"), "{found:?}");
        let crowd = |items: usize, outcome: Outcome| {
            outcome.map(|latent| vec![latent.values[0] + items.min(2) as f32, latent.values[1]].into())
        };
        let found = broken(|items| Ok(all(items).into_iter().map(|outcome| crowd(items.len(), outcome)).collect()));
        assert_eq!(found, ["a batch equals its items one by one"]);
        let kind = |item: &Item<'_>| Ok(outcome(item).unwrap_or(vec![0.0, 0.0].into()));
        assert_eq!(broken(|items| Ok(items.iter().map(kind).collect())), ["a bad item fails alone"]);
        let strict = |items: &[Item<'_>]| match all(items) {
            outcomes if outcomes.iter().any(Result::is_err) => Err(Error::new("one is bad")),
            outcomes => Ok(outcomes),
        };
        assert_eq!(broken(strict), ["a bad item fails alone"]);
        let busy =
            |items: &[Item<'_>]| if items.is_empty() { Ok(vec![Ok(vec![1.0, 2.0].into())]) } else { Ok(all(items)) };
        assert_eq!(broken(busy), ["an empty batch is answered with nothing"]);
    }

    /// An encoder that breaks the promise of one outcome per item in the requested way.
    struct Careless(String);

    impl Encoder for Careless {
        fn open(options: &Options, _: &Host) -> Result<Self, Error> {
            options.need("fault").map(Self)
        }
        fn describe(&self) -> Description {
            Description::new(Modality::Text, 2)
        }
        fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
            match self.0.as_str() {
                "backwards" => items.iter().enumerate().rev().for_each(|(index, item)| sink.put(index, outcome(item))),
                "twice" => items.iter().for_each(|item| sink.put(0, outcome(item))),
                "missing" => items.iter().enumerate().skip(1).for_each(|(index, item)| sink.put(index, outcome(item))),
                "beyond" => items.iter().enumerate().for_each(|(index, item)| sink.put(index + 1, outcome(item))),
                "many" => sink.put_all(items.iter().chain(items).map(outcome)),
                "widths" => sink.put_all(items.iter().map(|item| Ok(vec![1.0; item.bytes.len()]))),
                _ => panic!("on purpose"),
            }
            Ok(())
        }
    }

    #[test]
    fn an_item_has_one_outcome() {
        let samples = Samples::of(&Modality::Text).unwrap();
        let found = |fault: &str| {
            let encoder = Careless::open(&Options::default().with("fault", fault), &Host::detached()).unwrap();
            let checks = examine(&encoder.describe(), &samples, |items| encode(&encoder, items));
            checks.into_iter().find_map(|check| Some(format!("{}: {}", check.promise, check.broken?)))
        };
        let says = |broken: &str| Some(format!("each item gets one outcome, all of one width: {broken}"));
        assert_eq!(found("backwards"), None);
        assert_eq!(found("twice"), says("item 0 has two outcomes"));
        assert_eq!(found("missing"), says("no outcome for 1 of 3 items"));
        assert_eq!(found("beyond"), says("an outcome for item 3 of 3"));
        assert_eq!(found("many"), says("wrong number of outcomes: 6 instead of 3"));
        assert_eq!(found("widths"), says("latents of 12 and of 44 values in one batch"));
        assert_eq!(found("panic").unwrap(), "a batch of good items encodes: panicked: on purpose");
    }
}
