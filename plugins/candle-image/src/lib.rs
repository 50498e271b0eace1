//! Image encoders: EfficientNet-Lite0 with the weights of its PyTorch port.

mod conv;
mod depthwise;
mod input;
mod jpeg;
mod model;

use candle_core::{Device, Tensor};
use candle_kit::{Source, failed};
use fusemix_sdk::{
    Description, Encoded, Encoder, Error, Host, Item, ItemError, Modality, OptionKind, OptionSpec, Options, tracing,
};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

use input::{Fit, Input};
use model::Model;

fusemix_sdk::export!(CandleImage);

/// Pictures that one core of a CPU takes through the model together: more would not stay in its cache.
const CPU_PICTURES: usize = 2;
/// Pictures that a GPU takes together.
const GPU_PICTURES: usize = 32;

struct CandleImage {
    name: String,
    digest: String,
    input: Input,
    model: Box<dyn Model>,
    device: Device,
    /// A GPU computes for one call, while the other decodes its pictures.
    turn: Mutex<()>,
}

impl Encoder for CandleImage {
    fn options() -> Vec<OptionSpec> {
        let own = [
            OptionSpec::new("fit", OptionKind::Text, "the middle of a picture, or all of it, squashed (default: crop)")
                .choices(&Fit::NAMES),
            OptionSpec::new("max_pixels", OptionKind::Integer, "refuse larger pictures unread (default: 100000000)"),
        ];
        candle_kit::options().into_iter().chain(own).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let (device, dtype) = (candle_kit::device(options)?, candle_kit::dtype(options)?);
        let source = Source::locate(options, host)?;
        let weights = source.weights(&model::WEIGHTS)?;
        let model = model::load(&weights, dtype, &device)?;
        let input = Input::new(model.recipe(), options)?;
        let digest = candle_kit::digest(&[weights])?;
        let name = source.name().to_owned();
        tracing::info!("{name}: {}, pictures {input}, width {}", model.architecture(), model.width());
        Ok(Self { name, digest, input, model, device, turn: Mutex::new(()) })
    }

    fn describe(&self) -> Description {
        Description::new(Modality::Image, self.model.width())
            .batch(64)
            .concurrency(2)
            .fingerprint("architecture", self.model.architecture())
            .fingerprint("weights", &self.digest)
            .fingerprint("preprocessing", &self.input)
            .fingerprint("layer", "last")
            .fingerprint("pooling", "mean")
    }

    fn encode(&self, items: &[Item<'_>], host: &Host) -> Result<Encoded, Error> {
        let pixels = |item: &Item<'_>| self.input.pixels(item.bytes);
        let latents: Vec<Vec<_>> = match self.device.is_cpu() {
            true => items
                .par_chunks(CPU_PICTURES)
                .with_max_len(1)
                .map(|items| self.latents(items.iter().map(pixels).collect(), host))
                .collect::<Result<_, _>>()?,
            false => items
                .chunks(GPU_PICTURES)
                .map(|items| self.latents(items.par_iter().map(pixels).collect(), host))
                .collect::<Result<_, _>>()?,
        };
        Ok(latents.into_iter().flatten().collect())
    }
}

impl CandleImage {
    /// The latent of each picture that there is.
    fn latents(
        &self,
        pictures: Vec<Result<Vec<f32>, ItemError>>,
        host: &Host,
    ) -> Result<Vec<Result<Vec<f32>, ItemError>>, Error> {
        let good: Vec<&[f32]> = pictures.iter().flatten().map(Vec::as_slice).collect();
        let _turn = (!self.device.is_cpu()).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
        if host.should_stop() {
            return Err(Error::stopped());
        }
        let mut rows = match good.len() {
            0 => Vec::new(),
            count => self.forward(&good).map_err(failed(format_args!("{}, {count} pictures", self.name)))?,
        }
        .into_iter();
        Ok(pictures.into_iter().map(|picture| picture.map(|_| rows.next().unwrap_or_default())).collect())
    }

    fn forward(&self, pictures: &[&[f32]]) -> candle_core::Result<Vec<Vec<f32>>> {
        let size = self.input.size();
        let x = Tensor::from_vec(pictures.concat(), (pictures.len(), size, size, 3), &self.device)?;
        self.model.forward(&x)?.to_vec2()
    }
}

#[cfg(test)]
mod tests;
