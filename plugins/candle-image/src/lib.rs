//! Image encoders: DINOv2, ViT, CLIP's and SigLIP's vision towers, ConvNeXt and EfficientNet in hub format, UNICOM and
//! EfficientNet-Lite in their authors' format. Pictures are PNG, JPEG, WebP, GIF, BMP, TIFF or SVG (without its text:
//! see `svg`).

mod channels;
mod conv;
mod depthwise;
mod filter;
mod gif;
mod input;
mod isobmff;
mod jpeg;
mod model;
mod orientation;
mod picture;
mod png;
mod preprocessing;
mod preprocessor;
mod reach;
mod refusal;
mod resample;
mod svg;
mod tiff;

use candle_core::{DType, Device, Tensor};
use candle_kit::{Layer, Pinned, Pooling, Source, in_halves};
use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, Modality, OptionKind, OptionSpec, Options, Sink, tracing,
};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

use input::{Fit, Input};
use model::{Loaded, Model};

fusemix_sdk::export!(CandleImage);

/// Pictures per pass on a GPU.
const GPU_PICTURES: usize = 32;

struct CandleImage {
    name: String,
    architecture: String,
    /// Digests of the loaded files, for the fingerprint.
    digests: Vec<(&'static str, String)>,
    pinned: Option<Pinned>,
    input: Input,
    model: Box<dyn Model>,
    layer: Layer,
    pooling: Pooling,
    normalize: bool,
    projection: bool,
    device: Device,
    dtype: DType,
    /// A lock that lets a GPU compute for one call while another decodes its pictures.
    turn: Mutex<()>,
}

impl Encoder for CandleImage {
    fn options() -> Vec<OptionSpec> {
        let own = [
            OptionSpec::new(
                "fit",
                OptionKind::Text,
                "crop (the middle of the picture) or whole (all of it, squashed); default: crop",
            )
            .choices(&Fit::NAMES),
            OptionSpec::new(
                "projection",
                OptionKind::Boolean,
                "use the latent that CLIP compares with texts, not the one before it (default: false)",
            ),
            OptionSpec::new(
                "max_pixels",
                OptionKind::Integer,
                "reject larger pictures without decoding them (default: 100000000)",
            ),
        ];
        candle_kit::options().into_iter().chain(own).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let device = candle_kit::device(options)?;
        let dtype = candle_kit::dtype(options, &device)?;
        let (normalize, projection) = (options.get_or("normalize", false)?, options.get_or("projection", false)?);
        let source = model::tower(Source::locate(options, host)?)?;
        let Loaded { architecture, model, preprocessing, weights, config } =
            model::load(&source, projection, dtype, &device)?;
        let layer = Layer::choose(options, model.blocks())?;
        if projection && layer != Layer::Last {
            return Err(Error::config(format!("`projection = true` needs the last layer; remove `layer = {layer}`"))
                .key("projection"));
        }
        let pooling = Pooling::choose(options, model.poolings(), layer)?;
        let input = Input::new(preprocessing, options)?;
        let mut digests = vec![("weights", candle_kit::digest(&weights)?)];
        if let Some(config) = config {
            digests.push(("config", candle_kit::digest(&[config])?));
        }
        let (name, width) = (source.name().to_owned(), model.width(layer, pooling));
        tracing::info!("{name}: {architecture}, {pooling} of layer {layer}, pictures {input}, width {width}");
        let turn = Mutex::new(());
        Ok(Self {
            name,
            architecture,
            digests,
            pinned: source.pinned(),
            input,
            model,
            layer,
            pooling,
            normalize,
            projection,
            device,
            dtype,
            turn,
        })
    }

    fn describe(&self) -> Description {
        let description = Description::new(Modality::Image, self.model.width(self.layer, self.pooling))
            .batch(64)
            .patience(candle_kit::PATIENCE)
            .concurrency(2)
            .fingerprint("architecture", &self.architecture)
            .fingerprint("preprocessing", &self.input)
            .fingerprint("layer", self.layer)
            .fingerprint("pooling", self.pooling);
        let description = candle_kit::computed_in(description, self.dtype);
        let description = if self.normalize { description.fingerprint("normalize", true) } else { description };
        let description = if self.projection { description.fingerprint("projection", true) } else { description };
        let description = candle_kit::describe(description, self.model.blocks(), self.model.poolings(), self.layer);
        let description = Pinned::describe(self.pinned.as_ref(), description);
        self.digests.iter().fold(description, |description, (file, digest)| description.fingerprint(file, digest))
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        let host = sink.host();
        let pixels = |item: &Item<'_>| self.input.pixels(item.bytes);
        let latents: Vec<Vec<_>> = match self.device.is_cpu() {
            // Few pictures a core (see `candle_kit::nn`), and as many for each.
            true => items
                .par_chunks(self.model.pictures().min(items.len().div_ceil(rayon::current_num_threads())).max(1))
                .with_max_len(1)
                .map(|items| self.latents(items.iter().map(pixels).collect(), host))
                .collect::<Result<_, _>>()?,
            false => items
                .chunks(GPU_PICTURES)
                .map(|items| self.latents(items.par_iter().map(pixels).collect(), host))
                .collect::<Result<_, _>>()?,
        };
        sink.put_all(latents.into_iter().flatten());
        Ok(())
    }
}

impl CandleImage {
    /// The latents of the pictures that decoded.
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
            _ => in_halves(&good, &format!("{}, pictures", self.name), &|good| self.forward(good))?,
        }
        .into_iter();
        Ok(pictures.into_iter().map(|picture| picture.map(|_| rows.next().unwrap_or_default())).collect())
    }

    fn forward(&self, pictures: &[&[f32]]) -> candle_core::Result<Vec<Vec<f32>>> {
        let [height, width] = self.input.size();
        let x = Tensor::from_vec(pictures.concat(), (pictures.len(), height, width, 3), &self.device)?;
        let mut latents = self.model.forward(&x.to_dtype(self.dtype)?, self.layer, self.pooling)?.to_vec2::<f32>()?;
        if self.normalize {
            latents.iter_mut().for_each(|latent| candle_kit::normalize(latent));
        }
        Ok(latents)
    }
}

#[cfg(test)]
mod tests;
