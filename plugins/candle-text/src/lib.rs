//! Text encoders of the BERT family: a checkpoint's safetensors, tokenizer.json and config.json.

mod input;
mod model;
mod pooling;

use candle_core::{DType, Device, Tensor};
use candle_kit::nn::Packing;
use candle_kit::{Layer, Pooling, Source, failed};
use fusemix_sdk::{
    Description, Encoded, Encoder, Error, Host, Item, Latent, Modality, OptionKind, OptionSpec, Options, tracing,
};
use rayon::prelude::*;

use input::{Batch, Input, Tokens};
use model::Model;

fusemix_sdk::export!(CandleText);

/// Items that keep several cores busy with batches of similar lengths.
const BATCH: usize = 512;

struct CandleText {
    name: String,
    /// What was loaded, for the fingerprint.
    digests: [(&'static str, String); 3],
    input: Input,
    model: Box<dyn Model>,
    layer: Layer,
    pooling: Pooling,
    normalize: bool,
    device: Device,
    dtype: DType,
}

impl Encoder for CandleText {
    fn options() -> Vec<OptionSpec> {
        let own = [OptionSpec::new(
            "max_length",
            OptionKind::Integer,
            "tokens read of a text (default: the checkpoint's own)",
        )];
        candle_kit::options().into_iter().chain(own).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let (device, dtype) = (candle_kit::device(options)?, candle_kit::dtype(options)?);
        let normalize = options.get_or("normalize", false)?;
        let source = Source::locate(options, host)?;
        let weights = source.checkpoint()?;
        let model = model::load(&source, &weights, dtype, &device)?;
        let layer = Layer::choose(options, model.blocks())?;
        let pooling = pooling::choose(&source, options, model.poolings())?;
        let input = Input::open(&source, options, &*model)?;
        let digests = [
            ("weights", candle_kit::digest(&weights)?),
            ("config", candle_kit::digest(&[source.file("config.json")?])?),
            ("tokenizer", candle_kit::digest(&[source.file("tokenizer.json")?])?),
        ];
        let (name, cut) = (source.name().to_owned(), input.max_length());
        tracing::info!("{name}: {} of layer {layer}, up to {cut} tokens, width {}", pooling, model.hidden_size());
        Ok(Self { name, digests, input, model, layer, pooling, normalize, device, dtype })
    }

    fn describe(&self) -> Description {
        let description = Description::new(Modality::Text, self.model.hidden_size())
            .batch(BATCH)
            .fingerprint("max_length", self.input.max_length())
            .fingerprint("layer", self.layer)
            .fingerprint("pooling", self.pooling)
            .fingerprint("normalize", self.normalize);
        // What f32 makes is what it was before there was a choice.
        let description = match self.dtype {
            DType::F32 => description,
            dtype => description.fingerprint("dtype", dtype.as_str()).tolerance(0.05),
        };
        let description = candle_kit::describe(description, self.model.blocks(), self.model.poolings());
        self.digests.iter().fold(description, |description, (file, digest)| description.fingerprint(file, digest))
    }

    fn encode(&self, items: &[Item<'_>], host: &Host) -> Result<Encoded, Error> {
        let texts: Vec<_> = items.par_iter().map(|item| self.input.tokens(item)).collect();
        let batches = input::batches(&texts, &self.device);
        let run = |batch: &Batch| match host.should_stop() {
            true => Err(Error::stopped()),
            false => self.latents(batch).map_err(failed(format_args!("{}, {} texts", self.name, batch.texts.len()))),
        };
        // A batch a core (see `candle_kit::nn`); a GPU gets them one after the other.
        let rows: Vec<Vec<Vec<f32>>> = match self.device.is_cpu() {
            true => batches.par_iter().with_max_len(1).map(run).collect::<Result<_, _>>()?,
            false => batches.iter().map(run).collect::<Result<_, _>>()?,
        };

        let mut latents = vec![Vec::new(); items.len()];
        for (&text, values) in batches.iter().flat_map(|batch| &batch.texts).zip(rows.into_iter().flatten()) {
            latents[text] = values;
        }
        let latents = texts.into_iter().zip(latents);
        let latent = |(text, values): (Result<Tokens, _>, _)| Ok(Latent::new(values, text?.truncated));
        let mut encoded: Encoded = latents.map(latent).collect();
        let tokens: usize = batches.iter().map(|batch| batch.ids.len()).sum();
        encoded.usage.insert("tokens".into(), tokens as f64);
        Ok(encoded)
    }
}

impl CandleText {
    /// The latent of each text.
    fn latents(&self, batch: &Batch) -> candle_core::Result<Vec<Vec<f32>>> {
        let ids = Tensor::new(&batch.ids[..], &self.device)?;
        let packing = Packing::new(batch.lengths.clone(), &self.device)?;
        let hidden =
            self.model.forward(&ids, &packing, self.layer)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let width = self.model.hidden_size();
        let mut rest = &hidden[..];
        let latent = |&length: &usize| {
            let (states, others) = rest.split_at(length * width);
            rest = others;
            let mut values = self.pooling.pool(states, width);
            if self.normalize {
                candle_kit::normalize(&mut values);
            }
            values
        };
        Ok(batch.lengths.iter().map(latent).collect())
    }
}

#[cfg(test)]
mod tests;
