//! EfficientNet (Tan & Le, arXiv 1905.11946) with the names of the `transformers` package, and EfficientNet-Lite (relu6
//! and no squeeze-and-excitation) with those of its PyTorch port. Batch normalisation is folded into the convolutions.

mod config;

use candle_core::{DType, Result, Tensor, bail};
use candle_kit::checkpoint::within;
use candle_kit::nn::Linear;
use candle_kit::{Layer, Pooling};
use candle_nn::ops::sigmoid;
use candle_nn::{Activation, Module, VarBuilder};

use super::Model;
use super::batch_norm::fold;
use crate::channels;
use crate::conv::{Pointwise, Stem};
use crate::depthwise::Depthwise;
use crate::preprocessing::Preprocessing;
use crate::reach::Padding;

pub(super) use config::{COLOURS, Config};
use config::{Mean, Swish};

/// Lite0 to Lite4: width and depth coefficients, and pixels of each side.
const LITE: [(&str, f64, f64, usize); 5] = [
    ("efficientnet-lite0", 1.0, 1.0, 224),
    ("efficientnet-lite1", 1.0, 1.1, 240),
    ("efficientnet-lite2", 1.1, 1.2, 260),
    ("efficientnet-lite3", 1.2, 1.4, 280),
    ("efficientnet-lite4", 1.4, 1.8, 300),
];

/// A convolution and the batch normalisation behind it.
type Names = [&'static str; 2];

/// The differences between the two kinds.
struct Kind {
    stem: Names,
    blocks: &'static str,
    expand: Names,
    depthwise: Names,
    project: Names,
    head: Names,
    activation: Activation,
    epsilon: f64,
}

impl Kind {
    fn full(epsilon: f64) -> Self {
        Self {
            stem: ["embeddings.convolution", "embeddings.batchnorm"],
            blocks: "encoder.blocks",
            expand: ["expansion.expand_conv", "expansion.expand_bn"],
            depthwise: ["depthwise_conv.depthwise_conv", "depthwise_conv.depthwise_norm"],
            project: ["projection.project_conv", "projection.project_bn"],
            head: ["encoder.top_conv", "encoder.top_bn"],
            activation: Activation::Silu,
            epsilon,
        }
    }

    fn lite() -> Self {
        Self {
            stem: ["_conv_stem", "_bn0"],
            blocks: "_blocks",
            expand: ["_expand_conv", "_bn0"],
            depthwise: ["_depthwise_conv", "_bn1"],
            project: ["_project_conv", "_bn2"],
            head: ["_conv_head", "_bn1"],
            activation: Activation::Relu6,
            // TensorFlow's.
            epsilon: 1e-3,
        }
    }

    /// Weight (`out x in x k x k`) and bias of a convolution with its normalisation.
    fn fold(&self, [conv, norm]: Names, vb: &VarBuilder<'_>) -> Result<(Tensor, Tensor)> {
        fold(&vb.get_unchecked_dtype(&format!("{conv}.weight"), DType::F32)?, &vb.pp(norm), self.epsilon)
    }
}

/// The network without its classifier.
pub(super) struct EfficientNet {
    stem: Stem,
    blocks: Vec<Block>,
    head: Pointwise,
    /// Channels before each block, and behind the head.
    widths: Vec<usize>,
}

/// An inverted bottleneck.
struct Block {
    expand: Option<Pointwise>,
    depthwise: Depthwise,
    squeeze: Option<[Linear; 2]>,
    project: Pointwise,
    /// True if the input is added to the output.
    skip: bool,
}

impl EfficientNet {
    pub(super) fn load(config: &Config, vb: VarBuilder<'_>) -> Result<Self> {
        let vb = within(vb, &["efficientnet"], "embeddings.convolution.weight");
        let (Swish::Swish, Mean::Mean) = (&config.hidden_act, &config.pooling_type);
        let repeats =
            config.num_block_repeats.iter().map(|&repeats| (config.depth_coefficient * repeats as f64).ceil());
        Self::with(
            config,
            &Kind::full(config.batch_norm_eps),
            &repeats.map(|repeats| repeats as usize).collect::<Vec<_>>(),
            vb,
        )
    }

    /// The variant with as many and as wide blocks.
    pub(super) fn load_lite(vb: VarBuilder<'_>) -> Result<(&'static str, Self, Preprocessing)> {
        let count = (0..).take_while(|block| vb.contains_tensor(&format!("_blocks.{block}._bn1.weight"))).count();
        let Some(last) = count.checked_sub(1) else { bail!("it has no blocks") };
        let width = vb.get_unchecked(&format!("_blocks.{last}._bn2.weight"))?.dim(0)?;
        for (name, width_coefficient, depth_coefficient, size) in LITE {
            let config = Config { width_coefficient, depth_coefficient, ..Config::default() };
            let stages = config.num_block_repeats.len();
            // The first stage and the last have one block in all variants.
            let repeats: Vec<usize> = (config.num_block_repeats.iter().enumerate())
                .map(|(stage, &repeats)| match stage {
                    0 => repeats,
                    stage if stage == stages - 1 => repeats,
                    _ => (depth_coefficient * repeats as f64).ceil() as usize,
                })
                .collect();
            if repeats.iter().sum::<usize>() == count && config.width(config.out_channels[stages - 1]) == width {
                return Ok((name, Self::with(&config, &Kind::lite(), &repeats, vb)?, Preprocessing::lite(size)));
            }
        }
        bail!("{count} blocks, the last of width {width}, match none of EfficientNet-Lite0 to Lite4")
    }

    fn with(config: &Config, kind: &Kind, repeats: &[usize], vb: VarBuilder<'_>) -> Result<Self> {
        let stages = repeats.len();
        let lists = [&config.kernel_sizes, &config.out_channels, &config.strides, &config.expand_ratios];
        if lists.iter().any(|list| list.len() != stages) {
            bail!("the lists that describe its stages are not of the same length");
        }
        let lite = kind.activation == Activation::Relu6;
        let (weight, bias) = kind.fold(kind.stem, &vb)?;
        let mut widths = vec![weight.dim(0)?];
        let padding = if lite { Padding::Same } else { Padding::Around(0, 1) };
        let stem = Stem::new(&weight, &bias, padding, kind.activation)?;
        let mut blocks = Vec::new();
        for (stage, &repeats) in repeats.iter().enumerate() {
            let (kernel, expansion) = (config.kernel_sizes[stage], config.expand_ratios[stage]);
            for repeat in 0..repeats {
                let stride = if repeat == 0 { config.strides[stage] } else { 1 };
                let padding = match (lite || stride == 1, config.depthwise_padding.contains(&blocks.len())) {
                    (true, _) => Padding::Same,
                    (false, true) => Padding::Around(kernel / 2, kernel / 2),
                    (false, false) => Padding::Around((kernel / 2).saturating_sub(1), kernel / 2),
                };
                let vb = vb.pp(format!("{}.{}", kind.blocks, blocks.len()));
                let (weight, bias) = kind.fold(kind.depthwise, &vb)?;
                let depthwise = Depthwise::new(&weight, &bias)?.stride(stride).padding(padding).then(kind.activation);
                let expand = match expansion {
                    1 => None,
                    _ => {
                        let (weight, bias) = kind.fold(kind.expand, &vb)?;
                        Some(Pointwise::new(&weight, &bias)?.then(kind.activation))
                    }
                };
                let inputs = widths.last().copied().unwrap_or_default();
                let squeeze = match lite {
                    true => None,
                    false => Some(squeeze(config, inputs, inputs * expansion, &vb.pp("squeeze_excite"))?),
                };
                let (weight, bias) = kind.fold(kind.project, &vb)?;
                widths.push(weight.dim(0)?);
                let project = Pointwise::new(&weight, &bias)?;
                blocks.push(Block { expand, depthwise, squeeze, project, skip: repeat > 0 });
            }
        }
        let (weight, bias) = kind.fold(kind.head, &vb)?;
        widths.push(weight.dim(0)?);
        Ok(Self { stem, blocks, head: Pointwise::new(&weight, &bias)?.then(kind.activation), widths })
    }
}

/// From the means of all channels to a scale of each, before the sigmoid.
fn squeeze(config: &Config, inputs: usize, channels: usize, vb: &VarBuilder<'_>) -> Result<[Linear; 2]> {
    let inner = 1.max((inputs as f64 * config.squeeze_expansion_ratio) as usize);
    let layer = |name: &str, inputs: usize, outputs: usize| {
        let vb = vb.pp(name);
        Linear::new(&vb.get((outputs, inputs, 1, 1), "weight")?.flatten_from(1)?, &vb.get(outputs, "bias")?)
    };
    Ok([layer("reduce", channels, inner)?.then(Activation::Silu), layer("expand", inner, channels)?])
}

impl Model for EfficientNet {
    fn blocks(&self) -> usize {
        self.blocks.len()
    }

    fn poolings(&self) -> &'static [Pooling] {
        &[Pooling::Mean]
    }

    fn width(&self, layer: Layer, _: Pooling) -> usize {
        match layer {
            Layer::Last => self.widths[self.widths.len() - 1],
            Layer::After(blocks) => self.widths[blocks],
        }
    }

    fn forward(&self, x: &Tensor, layer: Layer, _: Pooling) -> Result<Tensor> {
        let mut x = self.stem.forward(x)?;
        let blocks = layer.of(&self.blocks);
        for block in blocks {
            x = block.forward(&x)?;
        }
        if layer == Layer::Last {
            x = self.head.forward(&x)?;
        }
        channels::mean(&x)?.to_dtype(DType::F32)
    }
}

impl Block {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = match &self.expand {
            Some(expand) => expand.forward(x)?,
            None => x.clone(),
        };
        let mut inner = self.depthwise.forward(&inner)?;
        if let Some([reduce, expand]) = &self.squeeze {
            let scale = sigmoid(&expand.forward(&reduce.forward(&channels::mean(&inner)?)?)?)?;
            inner = channels::scale(&inner, &scale)?;
        }
        let y = self.project.forward(&inner)?;
        if self.skip { y + x } else { Ok(y) }
    }
}
