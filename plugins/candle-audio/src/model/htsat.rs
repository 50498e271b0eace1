//! HTS-AT (Chen et al., arXiv 2202.00874), a Swin transformer over a folded spectrogram, and the audio tower of LAION's
//! CLAP: with the names of the `transformers` package.

mod authors;
mod config;
mod preprocessor;
mod swin;

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_kit::nn::{LayerNorm, Linear};
use candle_kit::{Layer, Pooling, checkpoint};
use candle_nn::{Module, VarBuilder};

use super::Model;
use crate::mel::{Parameters, Spectrogram};
use swin::{PatchMerging, SwinLayer};

pub(super) use authors::Renamed;
pub(super) use config::Config;
use preprocessor::{Preprocessor, Repeated};

/// The epsilon of batch normalisation, and of layer normalisations without a key in config.json.
const EPS: f64 = 1e-5;

pub(super) struct ClapAudioModel {
    parameters: Parameters,
    window: usize,
    repeated: Repeated,
    /// Of the folded spectrogram.
    frames: usize,
    spectrogram: Spectrogram,
    /// For each mel, `value * scale + shift`.
    batch_norm: Vec<(f32, f32)>,
    spec_size: usize,
    patch_size: usize,
    patch_embed: Linear,
    patch_norm: LayerNorm,
    layers: Vec<Stage>,
    norm: LayerNorm,
    /// Values after the patches, after each stage, and after the projection if there is one.
    widths: Vec<usize>,
    audio_projection: Option<(Linear, Linear)>,
    device: Device,
    dtype: DType,
}

struct Stage {
    blocks: Vec<SwinLayer>,
    downsample: Option<PatchMerging>,
}

impl ClapAudioModel {
    pub(super) fn load(
        config: Config,
        preprocessor: Preprocessor,
        projection: bool,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        let parameters = preprocessor.parameters();
        let (patch, first) = (config.patch_size, config.patch_embeds_hidden_size);
        let encoder = checkpoint::within(vb.clone(), &["audio_model.audio_encoder", "audio_encoder"], "norm.weight");

        let stages = config.depths.len();
        let (mut layers, mut widths) = (Vec::new(), vec![first]);
        for stage in 0..stages {
            let (width, vb) = (first << stage, encoder.pp(format!("layers.{stage}")));
            let merges = stage + 1 < stages;
            layers.push(Stage::load(&config, stage, width, merges, vb)?);
            widths.push(if merges { 2 * width } else { width });
        }
        let last = widths[stages];
        if last != config.hidden_size {
            bail!("`hidden_size` is {}, but the last stage's is {last}", config.hidden_size);
        }
        let audio_projection = projection.then(|| projection_layers(&config, &vb)).transpose()?;
        if projection {
            widths.push(config.projection_dim);
        }
        let embed = encoder.pp("patch_embed");
        let weight = embed.get((first, 1, patch, patch), "proj.weight")?.flatten_from(1)?;
        let patch_embed = Linear::new(&weight, &embed.get(first, "proj.bias")?)?;
        Ok(Self {
            parameters,
            window: preprocessor.window(),
            repeated: preprocessor.repeated,
            frames: config.frames(),
            spectrogram: Spectrogram::new(parameters),
            batch_norm: batch_norm(parameters.mels, encoder.pp("batch_norm"))?,
            spec_size: config.spec_size,
            patch_size: patch,
            patch_embed,
            patch_norm: LayerNorm::load(first, EPS, embed.pp("norm"))?,
            layers,
            norm: LayerNorm::load(last, EPS, encoder.pp("norm"))?,
            widths,
            audio_projection,
            device: vb.device().clone(),
            dtype: vb.dtype(),
        })
    }
}

fn batch_norm(mels: usize, vb: VarBuilder<'_>) -> Result<Vec<(f32, f32)>> {
    let values = |name| vb.get(mels, name)?.to_dtype(DType::F32)?.to_vec1::<f32>();
    let (weight, bias) = (values("weight")?, values("bias")?);
    let (mean, variance) = (values("running_mean")?, values("running_var")?);
    let affine = |mel: usize| {
        let scale = weight[mel] / (variance[mel] + EPS as f32).sqrt();
        (scale, bias[mel] - mean[mel] * scale)
    };
    Ok((0..mels).map(affine).collect())
}

fn projection_layers(config: &Config, vb: &VarBuilder<'_>) -> Result<(Linear, Linear)> {
    let (vb, width) = (vb.pp("audio_projection"), config.projection_dim);
    let first = Linear::load(config.hidden_size, width, vb.pp("linear1"))?.then(config.projection_hidden_act);
    Ok((first, Linear::load(width, width, vb.pp("linear2"))?))
}

impl Model for ClapAudioModel {
    fn preprocessing(&self) -> String {
        let Parameters { rate, frame, hop, mels, from, to } = self.parameters;
        let seconds = self.window / rate as usize;
        let repeated = match self.repeated {
            Repeated::Samples => "repeated",
            Repeated::Frames => "repeated and stretched",
        };
        format!(
            "{rate} Hz, {mels} log mels of {frame} every {hop} from {from} to {to} Hz, windows of {seconds} s, the \
             last one {repeated}"
        )
    }

    fn rate(&self) -> u32 {
        self.parameters.rate
    }

    fn window(&self) -> usize {
        self.window
    }

    fn width(&self, layer: Layer) -> usize {
        match layer {
            Layer::Last => self.widths[self.widths.len() - 1],
            Layer::After(stages) => self.widths[stages],
        }
    }

    fn blocks(&self) -> usize {
        self.layers.len()
    }

    /// The model's own pooling is of its last states; with a projection there is no other choice.
    fn poolings(&self, layer: Layer) -> &'static [Pooling] {
        match layer {
            Layer::Last if self.audio_projection.is_some() => &[Pooling::Pooler],
            Layer::Last => &[Pooling::Pooler, Pooling::Mean],
            Layer::After(_) => &[Pooling::Mean],
        }
    }

    /// A short sound fills its window.
    fn sounding(&self, _: usize, layer: Layer) -> usize {
        let side = self.spec_size / self.patch_size;
        let stages = self.layers.len();
        match layer {
            Layer::Last if self.audio_projection.is_some() => 1,
            Layer::Last => (side >> (stages - 1)).pow(2),
            Layer::After(after) => (side >> after.min(stages - 1)).pow(2),
        }
    }

    /// In decibels.
    fn mels(&self, samples: &[f32]) -> Vec<f32> {
        let log_mels = |samples: &[f32], length: usize| {
            self.spectrogram.log_mels(samples, length, length / self.parameters.hop + 1)
        };
        let mels = match self.repeated {
            Repeated::Samples => log_mels(&samples.repeat((self.window / samples.len()).max(1)), self.window),
            Repeated::Frames => log_mels(samples, samples.len()),
        };
        mels.into_iter().map(|mel| (10.0 * mel) as f32).collect()
    }

    /// `patches x patch_size^2`: the spectrogram, normalised, stretched in time, and folded into a square: its first
    /// part over its second, and so on.
    fn features(&self, samples: &[f32]) -> Vec<f32> {
        let mut mels = self.mels(samples);
        for frame in mels.chunks_exact_mut(self.parameters.mels) {
            frame.iter_mut().zip(&self.batch_norm).for_each(|(mel, (scale, shift))| *mel = *mel * scale + shift);
        }
        if self.repeated == Repeated::Frames {
            mels = mels.repeat(self.frames * self.parameters.mels / mels.len());
        }
        let mels = stretched(&mels, self.parameters.mels, self.frames);
        let (size, patch, bins) = (self.spec_size, self.patch_size, self.parameters.mels);
        let pixel = |row: usize, column: usize| mels[(row / bins * size + column) * bins + row % bins];
        let mut patches = Vec::with_capacity(size * size);
        for (top, left) in
            (0..size).step_by(patch).flat_map(|top| (0..size).step_by(patch).map(move |left| (top, left)))
        {
            patches.extend((0..patch * patch).map(|at| pixel(top + at / patch, left + at % patch)));
        }
        patches
    }

    fn forward(&self, features: Vec<f32>, windows: usize, layer: Layer) -> Result<Tensor> {
        let mut side = self.spec_size / self.patch_size;
        let shape = (windows * side * side, self.patch_size * self.patch_size);
        let x = Tensor::from_vec(features, shape, &self.device)?.to_dtype(self.dtype)?;
        let mut hidden = self.patch_norm.forward(&self.patch_embed.forward(&x)?)?;
        let stages = layer.of(&self.layers);
        for stage in stages {
            for block in &stage.blocks {
                hidden = block.forward(&hidden, side)?;
            }
            if let Some(downsample) = &stage.downsample {
                hidden = downsample.forward(&hidden, side)?;
                side /= 2;
            }
        }
        let hidden = if layer == Layer::Last { self.norm.forward(&hidden)? } else { hidden };
        let hidden = hidden.reshape((windows, side * side, ()))?;
        match &self.audio_projection {
            Some((linear1, linear2)) if layer == Layer::Last => {
                linear2.forward(&linear1.forward(&hidden.mean(1)?)?)?.unsqueeze(1)
            }
            _ => Ok(hidden),
        }
    }
}

impl Stage {
    fn load(config: &Config, stage: usize, width: usize, merges: bool, vb: VarBuilder<'_>) -> Result<Self> {
        let side = (config.spec_size / config.patch_size) >> stage;
        let block = |index: usize| {
            let window = config.window_size.min(side);
            // Where one window holds all, there is nothing to shift it against.
            let shift = if index % 2 == 1 && side > config.window_size { config.window_size / 2 } else { 0 };
            let vb = vb.pp(format!("blocks.{index}"));
            let (heads, inner) = (config.num_attention_heads[stage], (config.mlp_ratio * width as f64) as usize);
            SwinLayer::load(width, heads, inner, (window, shift, side), config.hidden_act, config.layer_norm_eps, vb)
        };
        Ok(Self {
            blocks: (0..config.depths[stage]).map(block).collect::<Result<_>>()?,
            downsample: merges.then(|| PatchMerging::load(width, EPS, vb.pp("downsample"))).transpose()?,
        })
    }
}

/// Frames of so many `mels`, resized to `to`: PyTorch's bicubic interpolation with aligned corners.
fn stretched(values: &[f32], mels: usize, to: usize) -> Vec<f32> {
    let last = values.len() / mels - 1;
    let mut stretched = Vec::with_capacity(to * mels);
    for frame in 0..to {
        let place = frame as f64 * last as f64 / (to - 1) as f64;
        let (before, t) = (place as usize, place.fract());
        let weights = [far(t + 1.0), near(t), near(1.0 - t), far(2.0 - t)].map(|weight| weight as f32);
        let rows = [before.saturating_sub(1), before, before + 1, before + 2].map(|at| at.min(last) * mels);
        stretched.extend((0..mels).map(|mel| (0..4).map(|tap| weights[tap] * values[rows[tap] + mel]).sum::<f32>()));
    }
    stretched
}

/// The cubic convolution's coefficient in PyTorch.
const A: f64 = -0.75;

/// The kernel within 1 of its centre.
fn near(x: f64) -> f64 {
    ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0
}

/// The kernel between 1 and 2 from its centre.
fn far(x: f64) -> f64 {
    ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A
}
