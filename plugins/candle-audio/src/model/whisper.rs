//! Whisper's encoder (Radford et al., arXiv 2212.04356), with the names of the `transformers` package.

use candle_core::{D, Result, Tensor, bail};
use candle_kit::nn::{LayerNorm, Linear, Packing, attention, head_width};
use candle_kit::{Layer, Pooling, checkpoint};
use candle_nn::{Activation, Module, VarBuilder};
use serde::Deserialize;

use super::Model;
use super::front_end::{FrontEnd, MELS, even, in_range, only};
use crate::decode::RATES;
use crate::mel::{Parameters, Spectrogram};

/// config.json.
#[derive(Deserialize)]
pub(super) struct Config {
    num_mel_bins: usize,
    d_model: usize,
    encoder_layers: usize,
    encoder_attention_heads: usize,
    encoder_ffn_dim: usize,
    #[serde(default = "gelu")]
    activation_function: Activation,
    max_source_positions: usize,
    #[serde(default)]
    scale_embedding: bool,
}

fn gelu() -> Activation {
    Activation::Gelu
}

/// preprocessor_config.json. The default is that of all published models except for their mels; missing keys have the
/// model's values.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Preprocessor {
    feature_size: Option<usize>,
    sampling_rate: u32,
    hop_length: usize,
    /// Seconds.
    chunk_length: Option<usize>,
    n_fft: usize,
    padding_side: String,
    padding_value: f64,
    dither: f64,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Self {
            feature_size: None,
            sampling_rate: 16_000,
            hop_length: 160,
            chunk_length: None,
            n_fft: 400,
            padding_side: "right".to_owned(),
            padding_value: 0.0,
            dither: 0.0,
        }
    }
}

impl FrontEnd for Preprocessor {
    type Config = Config;

    fn check(&self, config: &Config) -> Result<()> {
        in_range("`sampling_rate`", self.sampling_rate as usize, RATES)?;
        in_range("`hop_length`", self.hop_length, 1..=self.sampling_rate as usize)?;
        even("n_fft", self.n_fft)?;
        only("padding_side", &*self.padding_side, "right")?;
        only("padding_value", self.padding_value, 0.0)?;
        only("dither", self.dither, 0.0)?;
        let mels = config.num_mel_bins;
        in_range("`num_mel_bins` of config.json", mels, MELS)?;
        if self.feature_size.is_some_and(|size| size != mels) {
            bail!("`feature_size` is {}, but `num_mel_bins` of config.json is {mels}", self.feature_size.unwrap_or(0));
        }
        let (positions, hop) = (config.max_source_positions, self.hop_length);
        in_range("`max_source_positions` of config.json", positions, 1..=1 << 20)?;
        let samples = |seconds: usize| seconds.saturating_mul(self.sampling_rate as usize);
        if self.chunk_length.is_some_and(|seconds| samples(seconds) != positions.saturating_mul(STRIDE * hop)) {
            let seconds = self.chunk_length.unwrap_or(0);
            bail!(
                "`chunk_length` is {seconds}, from which a `hop_length` of {hop} makes {} frames, but \
                 `max_source_positions` of config.json is {positions}, each of {STRIDE}",
                samples(seconds) / hop
            );
        }
        Ok(())
    }
}

/// Frames of the spectrogram for each position of the encoder: the stride of the second convolution.
const STRIDE: usize = 2;
const EPS: f64 = 1e-5;

pub(super) struct Whisper {
    parameters: Parameters,
    spectrogram: Spectrogram,
    positions: usize,
    conv1: Conv,
    conv2: Conv,
    /// `positions x d_model`
    embed_positions: Tensor,
    layers: Vec<EncoderLayer>,
    layer_norm: LayerNorm,
}

impl Whisper {
    pub(super) fn load(config: Config, preprocessor: Preprocessor, vb: VarBuilder<'_>) -> Result<Self> {
        let (mels, width, positions) = (config.num_mel_bins, config.d_model, config.max_source_positions);
        head_width(config.encoder_attention_heads, width)?;
        if config.scale_embedding {
            bail!("`scale_embedding` is not supported (no published model uses it)");
        }
        let Preprocessor { sampling_rate: rate, n_fft: frame, hop_length: hop, .. } = preprocessor;
        let parameters = Parameters { rate, frame, hop, mels, from: 0.0, to: 8000.0 };
        let vb = checkpoint::within(vb, &["model.encoder", "encoder"], "conv1.weight");
        let layer = |index| EncoderLayer::load(&config, vb.pp(format!("layers.{index}")));
        Ok(Self {
            parameters,
            spectrogram: Spectrogram::new(parameters),
            positions,
            conv1: Conv::load(mels, width, 1, vb.pp("conv1"))?,
            conv2: Conv::load(width, width, STRIDE, vb.pp("conv2"))?,
            embed_positions: vb.get((positions, width), "embed_positions.weight")?,
            layers: (0..config.encoder_layers).map(layer).collect::<Result<_>>()?,
            layer_norm: LayerNorm::load(width, EPS, vb.pp("layer_norm"))?,
        })
    }
}

impl Model for Whisper {
    fn preprocessing(&self) -> String {
        let Parameters { rate, frame, hop, mels, .. } = self.parameters;
        let seconds = self.window() / rate as usize;
        format!("{rate} Hz, {mels} log mels of {frame} every {hop}, windows of {seconds} s, padded with silence")
    }

    fn rate(&self) -> u32 {
        self.parameters.rate
    }

    fn window(&self) -> usize {
        self.positions * STRIDE * self.parameters.hop
    }

    fn width(&self, _: Layer) -> usize {
        self.embed_positions.dims()[1]
    }

    fn blocks(&self) -> usize {
        self.layers.len()
    }

    fn poolings(&self, _: Layer) -> &'static [Pooling] {
        &[Pooling::Mean]
    }

    /// A position begins every 20 ms.
    fn sounding(&self, samples: usize, _: Layer) -> usize {
        samples.div_ceil(STRIDE * self.parameters.hop).clamp(1, self.positions)
    }

    /// Over a range of 8 powers of ten, scaled to about -1 to 1.
    fn mels(&self, samples: &[f32]) -> Vec<f32> {
        let mels = self.spectrogram.log_mels(samples, self.window(), self.positions * STRIDE);
        let least = mels.iter().copied().fold(f64::NEG_INFINITY, f64::max) - 8.0;
        mels.into_iter().map(|mel| ((mel.max(least) + 4.0) / 4.0) as f32).collect()
    }

    fn features(&self, samples: &[f32]) -> Vec<f32> {
        self.mels(samples)
    }

    fn forward(&self, features: Vec<f32>, windows: usize, layer: Layer) -> Result<Tensor> {
        let (device, dtype) = (self.embed_positions.device(), self.embed_positions.dtype());
        let frames = self.positions * STRIDE;
        let x = Tensor::from_vec(features, (windows, frames, self.parameters.mels), device)?.to_dtype(dtype)?;
        let x = self.conv2.forward(&self.conv1.forward(&x)?)?;
        let hidden = x.broadcast_add(&self.embed_positions)?.flatten_to(1)?;
        let packing = Packing::new(vec![self.positions; windows], device)?;
        let layers = layer.of(&self.layers);
        let hidden = layers.iter().try_fold(hidden, |hidden, layer| layer.forward(&hidden, &packing))?;
        let hidden = if layer == Layer::Last { self.layer_norm.forward(&hidden)? } else { hidden };
        hidden.reshape((windows, self.positions, ()))
    }
}

/// A convolution over 3 frames, then the activation; as a matrix over what the 3 hold.
struct Conv {
    linear: Linear,
    stride: usize,
}

impl Conv {
    /// Reads `weight` (`out x in x 3`) and `bias`.
    fn load(inputs: usize, outputs: usize, stride: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((outputs, inputs, 3), "weight")?.permute((0, 2, 1))?.flatten_from(1)?;
        Ok(Self { linear: Linear::new(&weight, &vb.get(outputs, "bias")?)?.then(Activation::Gelu), stride })
    }

    /// `windows x frames x in` to `windows x frames / stride x out`; beyond the ends there are zeros.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (windows, frames, inputs) = x.dims3()?;
        let outputs = frames / self.stride;
        let padded = x.pad_with_zeros(1, 1, 1)?;
        let tap = |place| {
            let seen = padded.narrow(1, place, frames)?.contiguous()?;
            seen.reshape((windows * outputs, self.stride, inputs))?.narrow(1, 0, 1)?.squeeze(1)?.contiguous()
        };
        let taps = Tensor::cat(&[tap(0)?, tap(1)?, tap(2)?], D::Minus1)?;
        self.linear.forward(&taps)?.reshape((windows, outputs, ()))
    }
}

struct EncoderLayer {
    heads: usize,
    self_attn_layer_norm: LayerNorm,
    /// `q_proj`, `k_proj` and `v_proj` side by side: `d_model -> 3 d_model`.
    qkv_proj: Linear,
    out_proj: Linear,
    final_layer_norm: LayerNorm,
    fc1: Linear,
    fc2: Linear,
}

impl EncoderLayer {
    fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let (width, inner) = (config.d_model, config.encoder_ffn_dim);
        let attn = vb.pp("self_attn");
        let weight = |name| attn.get((width, width), &format!("{name}.weight"));
        let bias = |name| attn.get(width, &format!("{name}.bias"));
        let weights = Tensor::cat(&[weight("q_proj")?, weight("k_proj")?, weight("v_proj")?], 0)?;
        let q_bias = bias("q_proj")?;
        let biases = Tensor::cat(&[q_bias.clone(), q_bias.zeros_like()?, bias("v_proj")?], 0)?;
        Ok(Self {
            heads: config.encoder_attention_heads,
            self_attn_layer_norm: LayerNorm::load(width, EPS, vb.pp("self_attn_layer_norm"))?,
            qkv_proj: Linear::new(&weights, &biases)?,
            out_proj: Linear::load(width, width, attn.pp("out_proj"))?,
            final_layer_norm: LayerNorm::load(width, EPS, vb.pp("final_layer_norm"))?,
            fc1: Linear::load(width, inner, vb.pp("fc1"))?.then(config.activation_function),
            fc2: Linear::load(inner, width, vb.pp("fc2"))?,
        })
    }

    /// `positions x d_model`, in and out.
    fn forward(&self, hidden: &Tensor, packing: &Packing) -> Result<Tensor> {
        let qkv = self.qkv_proj.forward(&self.self_attn_layer_norm.forward(hidden)?)?;
        let width = hidden.dim(1)?;
        let part = |index| qkv.narrow(1, index * width, width);
        let context = attention(&part(0)?, &part(1)?, &part(2)?, self.heads, packing)?;
        let hidden = self.out_proj.forward_sum(&context, hidden)?;
        let inner = self.fc1.forward(&self.final_layer_norm.forward(&hidden)?)?;
        self.fc2.forward_sum(&inner, &hidden)
    }
}
