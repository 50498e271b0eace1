//! Audio encoders: Whisper's, and CLAP's HTS-AT, from a checkpoint's weights, config.json and preprocessor_config.json;
//! and HTS-AT from its authors' checkpoints.

mod adpcm;
mod container;
mod decode;
mod mel;
mod model;
mod progress;
mod resample;
mod sound;

use candle_core::{DType, Device};
use candle_kit::{Layer, Pinned, Pooling, Source, guarded};
use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, Modality, OptionKind, OptionSpec, Options, Sink, tracing,
};
use rayon::prelude::*;
use std::sync::{Mutex, PoisonError};

use model::Model;
use progress::Progress;
use sound::Sound;

fusemix_sdk::export!(CandleAudio);

/// Sounds per call.
const BATCH: usize = 32;
/// Windows in memory at a time, unless there are more sounds.
const WINDOWS: usize = 8;
/// Windows per pass on a GPU.
const GPU_WINDOWS: usize = 16;

struct CandleAudio {
    name: String,
    /// Digests of the loaded files, for the fingerprint.
    digests: Vec<(&'static str, String)>,
    pinned: Option<Pinned>,
    model: Box<dyn Model>,
    layer: Layer,
    pooling: Pooling,
    normalize: bool,
    projection: bool,
    device: Device,
    dtype: DType,
    /// A lock that lets a GPU compute for one call while another decodes its sounds.
    turn: Mutex<()>,
}

/// Samples of the sound with this index.
type Window = (usize, Vec<f32>);
/// One per window.
type Latents = Vec<Result<Vec<f32>, ItemError>>;

impl Encoder for CandleAudio {
    fn options() -> Vec<OptionSpec> {
        let help = "use the latent that CLAP compares with texts, not the one before it (default: false)";
        let own = [OptionSpec::new("projection", OptionKind::Boolean, help)];
        candle_kit::options().into_iter().chain(own).collect()
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let device = candle_kit::device(options)?;
        let dtype = candle_kit::dtype(options, &device)?;
        let (normalize, projection) = (options.get_or("normalize", false)?, options.get_or("projection", false)?);
        let source = Source::locate(options, host)?;
        let config = source.optional(model::CONFIG)?;
        let weights = if config.is_some() { source.checkpoint()? } else { vec![source.state_dict()?] };
        let model = model::load(&source, options, &weights, dtype, &device)?;
        let layer = Layer::choose(options, model.blocks())?;
        if projection && layer != Layer::Last {
            return Err(Error::config(format!("`projection = true` needs the last layer; remove `layer = {layer}`"))
                .key("projection"));
        }
        let pooling = Pooling::choose(options, model.poolings(layer), layer)?;
        let mut digests = vec![("weights", candle_kit::digest(&weights)?)];
        if let Some(config) = config {
            digests.push(("config", candle_kit::digest(&[config])?));
        }
        let (name, width) = (source.name().to_owned(), model.width(layer));
        tracing::info!("{name}: {}, {pooling} of layer {layer}, width {width}", model.preprocessing());
        let turn = Mutex::new(());
        Ok(Self {
            name,
            digests,
            pinned: source.pinned(),
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
        let description = Description::new(Modality::Audio, self.model.width(self.layer))
            .batch(BATCH)
            .patience(candle_kit::PATIENCE)
            .concurrency(2)
            .fingerprint("preprocessing", self.model.preprocessing())
            .fingerprint(
                "decoding",
                "without announced delay and padding, Vorbis's once, nor what edits leave out; ADPCM as libsndfile's",
            )
            .fingerprint("windows", "mean, weighted by length")
            .fingerprint("layer", self.layer)
            .fingerprint("pooling", self.pooling)
            .fingerprint("normalize", self.normalize)
            .fingerprint("projection", self.projection);
        let description = candle_kit::computed_in(description, self.dtype);
        let description =
            candle_kit::describe(description, self.model.blocks(), self.model.poolings(self.layer), self.layer);
        let description = Pinned::describe(self.pinned.as_ref(), description);
        self.digests.iter().fold(description, |description, (file, digest)| description.fingerprint(file, digest))
    }

    /// Encodes in rounds of some windows of each sound, so that memory does not grow with a sound's length.
    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        let host = sink.host();
        let (rate, mut waits) = (self.model.rate(), false);
        let mut sounds: Vec<Progress<'_>> =
            items.par_iter().map(|item| Progress::new(Sound::open(item.bytes, rate))).collect();
        while sounds.iter().any(Progress::is_going) {
            let windows = self.windows(&mut sounds);
            for ((sound, window), latent) in windows.iter().zip(self.latents(&windows, host)?) {
                match latent {
                    Ok(latent) => sounds[*sound].add(&latent, window.len()),
                    Err(error) => sounds[*sound].fail(error),
                }
            }
            // A sign of life: a long sound may take longer than the host waits for an answer.
            let going = sounds.iter().filter(|sound| sound.is_going());
            if let Some(longest) = going.map(Progress::samples).max() {
                host.status(&format!("{} s into a long sound", longest / rate as usize));
                waits = true;
            }
        }
        if waits {
            host.status("");
        }
        sink.put_all(sounds.into_iter().map(|sound| sound.finish(self.normalize)));
        Ok(())
    }
}

impl CandleAudio {
    /// The next windows of each unfinished sound.
    fn windows(&self, sounds: &mut [Progress<'_>]) -> Vec<Window> {
        let going = sounds.iter().filter(|sound| sound.is_going()).count();
        let (each, length) = (WINDOWS.div_ceil(going), self.model.window());
        let windows: Vec<Vec<Vec<f32>>> =
            sounds.par_iter_mut().with_max_len(1).map(|sound| sound.windows(each, length)).collect();
        let windows = windows.into_iter().enumerate();
        windows.flat_map(|(sound, windows)| windows.into_iter().map(move |window| (sound, window))).collect()
    }

    /// The latent of each window.
    fn latents(&self, windows: &[Window], host: &Host) -> Result<Latents, Error> {
        let latents: Result<Vec<_>, _> = if self.device.is_cpu() {
            // A window a core (see `candle_kit::nn`).
            windows.par_chunks(1).with_max_len(1).map(|window| self.together(window, host)).collect()
        } else {
            windows.chunks(GPU_WINDOWS).map(|windows| self.together(windows, host)).collect()
        };
        Ok(latents?.into_iter().flatten().collect())
    }

    /// The latents of some windows, which pass through the model together.
    fn together(&self, windows: &[Window], host: &Host) -> Result<Latents, Error> {
        let features = |window: &[f32]| {
            let features = guarded("making its spectrogram", || Ok(self.model.features(window)))?;
            Ok((features, window.len()))
        };
        let made: Vec<Result<_, _>> = windows.par_iter().map(|(_, window)| features(window)).collect();
        let (mut whole, mut outcomes) = (Vec::new(), Vec::new());
        for made in made {
            outcomes.push(made.map(|features| whole.push(features)));
        }
        let mut latents = self.forward(&whole, host)?.into_iter();
        let mut latent = || latents.next().expect("one for each window that has features");
        Ok(outcomes.into_iter().map(|outcome| outcome.map(|()| latent())).collect())
    }

    /// The latent of each of some windows' features, with the number of samples that they are of.
    fn forward(&self, windows: &[(Vec<f32>, usize)], host: &Host) -> Result<Vec<Vec<f32>>, Error> {
        if host.should_stop() {
            return Err(Error::stopped());
        }
        if windows.is_empty() {
            return Ok(Vec::new());
        }
        let width = self.model.width(self.layer);
        let pooling = match self.pooling {
            // What the models' poolers do.
            Pooling::Pooler => Pooling::Mean,
            other => other,
        };
        let _turn = (!self.device.is_cpu()).then(|| self.turn.lock().unwrap_or_else(PoisonError::into_inner));
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

#[cfg(test)]
mod tests;
