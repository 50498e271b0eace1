//! The choice of an item's latent: the block after which the states are taken, and their pooling.

use fusemix_sdk::{Description, Error, Options};
use serde_json::Value;
use std::fmt;

use crate::failure::failed;

/// The place in a model where the states are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// The model's output: after its last block, and after its last normalisation if it has one.
    Last,
    /// After so many blocks and nothing else; 0 for the embeddings. `hidden_states[N]` of the transformers package.
    After(usize),
}

impl Layer {
    /// The option `layer`, of a model of `blocks` blocks: `"last"` (the default), `"penultimate"`, or a number.
    pub fn choose(options: &Options, blocks: usize) -> Result<Self, Error> {
        let layer = match options.get::<Value>("layer")? {
            None => Some(Self::Last),
            Some(Value::String(name)) if name == "last" => Some(Self::Last),
            Some(Value::String(name)) if name == "penultimate" => blocks.checked_sub(1).map(Self::After),
            Some(value) => {
                let number = value.as_u64().or_else(|| value.as_str()?.parse().ok());
                number.filter(|&after| after < blocks as u64).map(|after| Self::After(after as usize))
            }
        };
        layer.ok_or_else(|| {
            let given = options.get::<Value>("layer").ok().flatten().unwrap_or_default();
            let choices = Self::choices(blocks).join(", ");
            Error::config(format!(
                "`layer = {given}`: the model has {blocks} blocks (\"last\" comes after all of them); choose one of \
                 {choices}"
            ))
            .key("layer")
        })
    }

    /// Those of all `blocks` that are before it.
    pub fn of<T>(self, blocks: &[T]) -> &[T] {
        match self {
            Self::Last => blocks,
            Self::After(after) => &blocks[..after],
        }
    }

    /// Those of `offers` that are available at this layer: the model's own pooling is only at the last layer.
    pub fn poolings(self, offers: &[Pooling]) -> Vec<Pooling> {
        offers.iter().copied().filter(|&pooling| self == Self::Last || pooling != Pooling::Pooler).collect()
    }

    /// The valid values in plugins.toml.
    pub fn choices(blocks: usize) -> Vec<String> {
        let named = ["last", "penultimate"].map(str::to_owned);
        named.into_iter().chain((0..blocks).map(|after| after.to_string())).collect()
    }
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Last => f.write_str("last"),
            Self::After(blocks) => write!(f, "{blocks}"),
        }
    }
}

/// The way in which the states of an item's tokens, patches or frames become one latent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The mean over all of them.
    Mean,
    /// The first one, which the model has for the whole.
    Cls,
    /// The last one, the only one that has seen all others in a model that reads from left to right.
    Last,
    /// The model's own pooling.
    Pooler,
}

impl Pooling {
    /// All of them, by name.
    pub const ALL: [(&str, Self); 4] =
        [("mean", Self::Mean), ("cls", Self::Cls), ("last", Self::Last), ("pooler", Self::Pooler)];

    /// The option `pooling`, among those that the model `offers` and that are available at `layer`; the first is the
    /// default.
    pub fn choose(options: &Options, offers: &[Self], layer: Layer) -> Result<Self, Error> {
        let offers = layer.poolings(offers);
        let Some(name) = options.get::<String>("pooling")? else { return Ok(offers[0]) };
        let found = offers.iter().find(|pooling| pooling.to_string() == name);
        found.copied().ok_or_else(|| {
            let names = names(&offers).join(", ");
            Error::config(format!("`pooling = \"{name}\"`: this model offers {names} at layer {layer}")).key("pooling")
        })
    }

    /// Pools `states`, `tokens x width` of one item, row by row; the model's own pooling is done by the model.
    pub fn pool(self, states: &[f32], width: usize) -> Vec<f32> {
        match self {
            Self::Cls | Self::Pooler => states[..width].to_vec(),
            Self::Last => states[states.len() - width..].to_vec(),
            Self::Mean => {
                let mut mean = vec![0.0; width];
                for token in states.chunks_exact(width) {
                    mean.iter_mut().zip(token).for_each(|(sum, value)| *sum += value);
                }
                let tokens = (states.len() / width) as f32;
                mean.iter_mut().for_each(|sum| *sum /= tokens);
                mean
            }
        }
    }
}

impl fmt::Display for Pooling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, pooling)| pooling == self).map_or("", |(name, _)| name))
    }
}

fn names(poolings: &[Pooling]) -> Vec<String> {
    poolings.iter().map(ToString::to_string).collect()
}

/// A description with the valid values of `layer`, and of `pooling` at the chosen layer.
pub fn describe(description: Description, blocks: usize, offers: &[Pooling], layer: Layer) -> Description {
    description.choices("layer", Layer::choices(blocks)).choices("pooling", names(&layer.poolings(offers)))
}

/// Scales `latent` to length 1; a zero stays zero.
pub fn normalize(latent: &mut [f32]) {
    let length = latent.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
    latent.iter_mut().for_each(|value| *value /= length);
}

/// Runs `work` over all of `items`, in halves if the device has no memory for them together. `doing` describes the work
/// for errors.
pub fn in_halves<T, R>(
    items: &[T],
    doing: &str,
    work: &impl Fn(&[T]) -> candle_core::Result<Vec<R>>,
) -> Result<Vec<R>, Error> {
    match work(items) {
        Ok(done) => Ok(done),
        Err(error) if items.len() > 1 && is_out_of_memory(&error) => {
            let (first, second) = items.split_at(items.len() / 2);
            let mut done = in_halves(first, doing, work)?;
            done.extend(in_halves(second, doing, work)?);
            Ok(done)
        }
        Err(error) => Err(failed(format_args!("{doing}, {} at once", items.len()))(error)),
    }
}

fn is_out_of_memory(error: &candle_core::Error) -> bool {
    let text = format!("{error:?}").to_lowercase();
    text.contains("out of memory") || text.contains("out_of_memory") || text.contains("outofmemory")
}

#[cfg(test)]
mod tests {
    use super::*;
    use fusemix_sdk::Modality;

    #[test]
    fn layers_by_name_and_number() {
        let choose = |value: Value| Layer::choose(&Options::default().with("layer", value), 12);
        assert_eq!(Layer::choose(&Options::default(), 12), Ok(Layer::Last));
        assert_eq!(choose("last".into()), Ok(Layer::Last));
        assert_eq!(choose("penultimate".into()), Ok(Layer::After(11)));
        assert_eq!(choose(0.into()), Ok(Layer::After(0)));
        for wrong in [12.into(), (-1).into(), "first".into(), Value::Bool(true)] {
            let error = choose(wrong).unwrap_err().message;
            assert!(error.contains("choose one of last, penultimate, 0, 1,"), "{error}");
        }
    }

    #[test]
    fn pooling_is_one_that_the_model_offers() {
        let offers = [Pooling::Cls, Pooling::Mean];
        let choose = |name: &str| Pooling::choose(&Options::default().with("pooling", name), &offers, Layer::Last);
        assert_eq!(Pooling::choose(&Options::default(), &offers, Layer::Last), Ok(Pooling::Cls));
        assert_eq!(choose("mean"), Ok(Pooling::Mean));
        for wrong in ["last", "pooler", "max"] {
            assert!(choose(wrong).unwrap_err().message.contains("this model offers cls, mean"), "{wrong}");
        }
        let states = [1.0, 2.0, 3.0, 4.0, 5.0, 9.0];
        let pooled = [Pooling::Cls, Pooling::Last, Pooling::Mean].map(|pooling| pooling.pool(&states, 2));
        assert_eq!(pooled, [[1.0, 2.0], [5.0, 9.0], [3.0, 5.0]]);
    }

    #[test]
    fn a_pooler_is_of_the_last_layer() {
        let (offers, options) = ([Pooling::Pooler, Pooling::Mean], Options::default());
        for (layer, first) in [(Layer::Last, Pooling::Pooler), (Layer::After(1), Pooling::Mean)] {
            assert_eq!(Pooling::choose(&options, &offers, layer), Ok(first));
            let description = describe(Description::new(Modality::Text, 2), 2, &offers, layer);
            assert_eq!(description.choices["pooling"][0], first.to_string());
            assert_eq!(description.choices["layer"], ["last", "penultimate", "0", "1"]);
        }
        let refused = Pooling::choose(&options.with("pooling", "pooler"), &offers, Layer::After(1)).unwrap_err();
        assert!(refused.message.contains("this model offers mean at layer 1"), "{}", refused.message);
    }

    #[test]
    fn what_does_not_fit_goes_in_halves() {
        let work = |items: &[u32]| match items.len() {
            0..3 => Ok(items.to_vec()),
            _ => candle_core::bail!("CUDA_ERROR_OUT_OF_MEMORY"),
        };
        assert_eq!(in_halves(&[1, 2, 3, 4, 5, 6, 7], "", &work).unwrap(), [1, 2, 3, 4, 5, 6, 7]);
        let fails = |_: &[u32]| candle_core::bail!("out of memory");
        let none: Result<Vec<u32>, Error> = in_halves(&[1, 2], "model, pictures", &fails);
        assert!(none.unwrap_err().message.contains("model, pictures, 1 at once: out of memory"));
    }
}
