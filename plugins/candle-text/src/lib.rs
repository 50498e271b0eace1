//! Text encoders of the BERT family: a checkpoint's safetensors, tokenizer.json and config.json.

mod input;
mod model;
mod pooling;

use candle_core::{DType, Device, Tensor};
use candle_kit::nn::Packing;
use candle_kit::{Source, failed};
use fusemix_sdk::{
    Description, Encoded, Encoder, Error, Host, Item, Latent, Modality, OptionKind, OptionSpec, Options, tracing,
};
use rayon::prelude::*;

use input::{Batch, Input, Tokens};
use model::Model;
use pooling::Pooling;

fusemix_sdk::export!(CandleText);

/// Items that keep several cores busy with batches of similar lengths.
const BATCH: usize = 512;

struct CandleText {
    name: String,
    /// What was loaded, for the fingerprint.
    digests: [(&'static str, String); 3],
    input: Input,
    model: Box<dyn Model>,
    pooling: Pooling,
    normalize: bool,
    device: Device,
}

impl Encoder for CandleText {
    fn options() -> Vec<OptionSpec> {
        let own = [
            OptionSpec::new("pooling", OptionKind::Text, "which latent (default: the checkpoint's own, else mean)")
                .choices(&Pooling::NAMES),
            OptionSpec::new("max_length", OptionKind::Integer, "tokens read of a text (default: the checkpoint's own)"),
            OptionSpec::new("normalize", OptionKind::Boolean, "scale latents to length 1 (default: false)"),
        ];
        candle_kit::options().into_iter().chain(own).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let device = candle_kit::device(&options.get_or("device", "cpu".to_owned())?)?;
        let normalize = options.get_or("normalize", false)?;
        let source = Source::locate(options, host)?;
        let pooling = Pooling::choose(&source, options)?;
        let weights = source.safetensors()?;
        let model = model::load(&source, &weights, DType::F32, &device)?;
        let input = Input::open(&source, options, &*model)?;
        let digests = [
            ("weights", candle_kit::digest(&weights)?),
            ("config", candle_kit::digest(&[source.file("config.json")?])?),
            ("tokenizer", candle_kit::digest(&[source.file("tokenizer.json")?])?),
        ];
        let (name, cut) = (source.name().to_owned(), input.max_length());
        tracing::info!("{name}: {} of the last layer, up to {cut} tokens, width {}", pooling, model.hidden_size());
        Ok(Self { name, digests, input, model, pooling, normalize, device })
    }

    fn describe(&self) -> Description {
        let description = Description::new(Modality::Text, self.model.hidden_size())
            .batch(BATCH)
            .fingerprint("max_length", self.input.max_length())
            .fingerprint("layer", "last")
            .fingerprint("pooling", self.pooling)
            .fingerprint("normalize", self.normalize);
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
        let hidden = self.model.forward(&ids, &packing)?.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let width = self.model.hidden_size();
        let mut rest = &hidden[..];
        let latent = |&length: &usize| {
            let (states, others) = rest.split_at(length * width);
            rest = others;
            let mut values = self.pooling.pool(states, width);
            if self.normalize {
                pooling::normalize(&mut values);
            }
            values
        };
        Ok(batch.lengths.iter().map(latent).collect())
    }
}

#[cfg(test)]
mod tests;
