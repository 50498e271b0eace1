//! Audio encoders: Whisper's, and HTS-AT as CLAP has it, from a checkpoint's weights, config.json and
//! preprocessor_config.json; and HTS-AT from its authors' checkpoints.

mod decode;
mod mel;
mod model;
mod mpeg;
mod ogg;
mod resample;
mod sound;

use candle_core::{DType, Device};
use candle_kit::{Layer, Pooling, Source};
use fusemix_sdk::{
    Description, Encoded, Encoder, Error, Host, Item, ItemError, Modality, OptionKind, OptionSpec, Options, tracing,
};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

use model::Model;
use sound::Sound;

fusemix_sdk::export!(CandleAudio);

/// Sounds that the host sends at once.
const BATCH: usize = 32;
/// Windows that are in memory together, if there are not more sounds.
const WINDOWS: usize = 8;
/// Windows that a GPU takes together.
const GPU_WINDOWS: usize = 16;

struct CandleAudio {
    name: String,
    /// What was loaded, for the fingerprint.
    digests: Vec<(&'static str, String)>,
    model: Box<dyn Model>,
    layer: Layer,
    pooling: Pooling,
    normalize: bool,
    projection: bool,
    device: Device,
    dtype: DType,
    /// A GPU computes for one call, while the other decodes its sounds.
    turn: Mutex<()>,
}

/// A sound on its way to its latent.
struct Progress<'a> {
    /// What is left of the sound; nothing, once it is over or has failed.
    sound: Option<Sound<'a>>,
    /// The sum of the windows' latents, each times its samples, and these samples.
    sum: Vec<f64>,
    samples: usize,
    failure: Option<ItemError>,
}

impl Encoder for CandleAudio {
    fn options() -> Vec<OptionSpec> {
        let help = "the latent that CLAP compares with texts, not the one before it (default: false)";
        let own = [OptionSpec::new("projection", OptionKind::Boolean, help)];
        candle_kit::options().into_iter().chain(own).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let device = candle_kit::device(options)?;
        let dtype = candle_kit::dtype(options, &device)?;
        let (normalize, projection) = (options.get_or("normalize", false)?, options.get_or("projection", false)?);
        let source = Source::locate(options, host)?;
        let weights = source.checkpoint()?;
        let model = model::load(&source, options, &weights, dtype, &device)?;
        let layer = Layer::choose(options, model.blocks())?;
        if projection && layer != Layer::Last {
            return Err(Error::config(format!("`projection = true` is of the last layer; remove `layer = {layer}`")));
        }
        let pooling = Pooling::choose(options, model.poolings(layer), layer)?;
        let mut digests = vec![("weights", candle_kit::digest(&weights)?)];
        if let Some(config) = source.optional(model::CONFIG)? {
            digests.push(("config", candle_kit::digest(&[config])?));
        }
        let (name, width) = (source.name().to_owned(), model.width(layer));
        tracing::info!("{name}: {}, {pooling} of layer {layer}, width {width}", model.preprocessing());
        let turn = Mutex::new(());
        Ok(Self { name, digests, model, layer, pooling, normalize, projection, device, dtype, turn })
    }

    fn describe(&self) -> Description {
        let description = Description::new(Modality::Audio, self.model.width(self.layer))
            .batch(BATCH)
            .patience(candle_kit::PATIENCE)
            .concurrency(2)
            .fingerprint("preprocessing", self.model.preprocessing())
            .fingerprint("windows", "mean, weighted by length")
            .fingerprint("layer", self.layer)
            .fingerprint("pooling", self.pooling)
            .fingerprint("normalize", self.normalize)
            .fingerprint("projection", self.projection);
        let description = match self.dtype {
            DType::F32 => description,
            dtype => description.fingerprint("dtype", dtype.as_str()).tolerance(0.05),
        };
        let description =
            candle_kit::describe(description, self.model.blocks(), self.model.poolings(self.layer), self.layer);
        self.digests.iter().fold(description, |description, (file, digest)| description.fingerprint(file, digest))
    }

    /// In rounds of some windows of each sound, so that memory does not grow with a sound's length.
    fn encode(&self, items: &[Item<'_>], host: &Host) -> Result<Encoded, Error> {
        let (rate, mut waits) = (self.model.rate(), false);
        let mut sounds: Vec<Progress<'_>> =
            items.par_iter().map(|item| Progress::new(Sound::open(item.bytes, rate))).collect();
        loop {
            let going = sounds.iter().filter(|sound| sound.sound.is_some()).count();
            if going == 0 {
                break;
            }
            let (each, length) = (WINDOWS.div_ceil(going), self.model.window());
            let windows: Vec<Vec<Vec<f32>>> =
                sounds.par_iter_mut().with_max_len(1).map(|sound| sound.windows(each, length)).collect();
            let windows: Vec<(usize, Vec<f32>)> = windows
                .into_iter()
                .enumerate()
                .flat_map(|(sound, windows)| windows.into_iter().map(move |window| (sound, window)))
                .collect();
            for ((sound, window), latent) in windows.iter().zip(self.latents(&windows, host)?) {
                sounds[*sound].add(&latent, window.len());
            }
            // A sign of life: a long sound may take longer than the host waits for an answer.
            if let Some(longest) = sounds.iter().filter(|sound| sound.sound.is_some()).map(|sound| sound.samples).max()
            {
                host.status(&format!("{} s into a long sound", longest / rate as usize));
                waits = true;
            }
        }
        if waits {
            host.status("");
        }
        Ok(sounds.into_iter().map(|sound| sound.finish(self.normalize)).collect())
    }
}

impl CandleAudio {
    /// The latent of each window.
    fn latents(&self, windows: &[(usize, Vec<f32>)], host: &Host) -> Result<Vec<Vec<f32>>, Error> {
        if self.device.is_cpu() {
            // A window a core (see `candle_kit::nn`).
            let each = windows.par_iter().with_max_len(1).map(|(_, window)| {
                let features = (self.model.features(window), window.len());
                self.forward(&[features], host).map(|mut latents| latents.remove(0))
            });
            return each.collect();
        }
        let features: Vec<_> =
            windows.par_iter().map(|(_, window)| (self.model.features(window), window.len())).collect();
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let latents: Result<Vec<_>, _> =
            features.chunks(GPU_WINDOWS).map(|features| self.forward(features, host)).collect();
        Ok(latents?.into_iter().flatten().collect())
    }

    /// The latent of each of some windows' features, with the number of samples that they are of.
    fn forward(&self, windows: &[(Vec<f32>, usize)], host: &Host) -> Result<Vec<Vec<f32>>, Error> {
        if host.should_stop() {
            return Err(Error::stopped());
        }
        let width = self.model.width(self.layer);
        let pooling = match self.pooling {
            // What the models' poolers do.
            Pooling::Pooler => Pooling::Mean,
            other => other,
        };
        candle_kit::in_halves(windows, &format!("{}, windows", self.name), &|windows| {
            let features = windows.iter().flat_map(|(features, _)| features.iter().copied()).collect();
            let states = self.model.forward(features, windows.len(), self.layer)?.to_dtype(DType::F32)?;
            let states: Vec<f32> = states.flatten_all()?.to_vec1()?;
            let each = states.chunks_exact(states.len() / windows.len()).zip(windows);
            let latent = |(states, (_, samples)): (&[f32], &(_, usize))| {
                pooling.pool(&states[..self.model.sounding(*samples, self.layer) * width], width)
            };
            Ok(each.map(latent).collect())
        })
    }
}

impl<'a> Progress<'a> {
    fn new(sound: Result<Sound<'a>, ItemError>) -> Self {
        let (sound, failure) = match sound {
            Ok(sound) => (Some(sound), None),
            Err(error) => (None, Some(error)),
        };
        Self { sound, sum: Vec::new(), samples: 0, failure }
    }

    /// Up to so many windows of `length` samples; the last one of a sound may be shorter.
    fn windows(&mut self, most: usize, length: usize) -> Vec<Vec<f32>> {
        let mut windows = Vec::new();
        while let Some(sound) = self.sound.as_mut().filter(|_| windows.len() < most) {
            match sound.window(length) {
                Ok(window) => {
                    if window.len() < length {
                        self.sound = None;
                    }
                    windows.extend(Some(window).filter(|window| !window.is_empty()));
                }
                Err(error) => (self.sound, self.failure) = (None, Some(error)),
            }
        }
        windows
    }

    fn add(&mut self, latent: &[f32], samples: usize) {
        self.sum.resize(latent.len(), 0.0);
        self.sum.iter_mut().zip(latent).for_each(|(sum, &value)| *sum += f64::from(value) * samples as f64);
        self.samples += samples;
    }

    fn finish(self, normalize: bool) -> Result<Vec<f32>, ItemError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let mut latent: Vec<f32> = self.sum.iter().map(|sum| (sum / self.samples as f64) as f32).collect();
        if normalize {
            candle_kit::normalize(&mut latent);
        }
        Ok(latent)
    }
}

#[cfg(test)]
mod tests;
