//! EfficientNet-Lite0 (Tan & Le, arXiv 1905.11946; the Lite variant has relu6 and no squeeze-and-excitation), with the
//! names of its PyTorch port. Batch normalisation is folded into the convolutions.

use candle_core::{DType, Device, Result, Tensor, bail};
use candle_nn::VarBuilder;
use std::collections::HashMap;

use super::Model;
use crate::conv::{Pointwise, Stem};
use crate::depthwise::Depthwise;
use crate::input::Recipe;

/// (repeats, kernel, stride of the first, expansion, inputs, outputs)
const STAGES: [(usize, usize, usize, usize, usize, usize); 7] = [
    (1, 3, 1, 1, 32, 16),
    (2, 3, 2, 6, 16, 24),
    (2, 5, 2, 6, 24, 40),
    (3, 3, 2, 6, 40, 80),
    (3, 5, 1, 6, 80, 112),
    (4, 5, 2, 6, 112, 192),
    (1, 3, 1, 6, 192, 320),
];
const STEM: usize = 32;
const HEAD: usize = 1280;
/// The epsilon of TensorFlow's batch normalisation.
const EPSILON: f64 = 1e-3;

/// The network without its classifier.
pub(super) struct EfficientNet {
    conv_stem: Stem,
    blocks: Vec<MBConvBlock>,
    conv_head: Pointwise,
}

/// An inverted bottleneck.
struct MBConvBlock {
    expand_conv: Option<Pointwise>,
    depthwise_conv: Depthwise,
    project_conv: Pointwise,
    /// Whether the input is added to the output.
    skip: bool,
}

impl EfficientNet {
    pub(super) fn load(tensors: &HashMap<String, Tensor>, dtype: DType, device: &Device) -> Result<Self> {
        let vb = VarBuilder::from_tensors(fold(tensors)?, dtype, device);
        let (mut blocks, mut last) = (Vec::new(), STEM);
        for (repeats, kernel, stride, expansion, inputs, outputs) in STAGES {
            for repeat in 0..repeats {
                let (inputs, stride) = if repeat == 0 { (inputs, stride) } else { (outputs, 1) };
                let vb = vb.pp(format!("_blocks.{}", blocks.len()));
                blocks.push(MBConvBlock::load(kernel, stride, expansion, inputs, outputs, &vb)?);
                last = outputs;
            }
        }
        let conv_stem = Stem::load(STEM, vb.pp("_conv_stem"))?;
        let conv_head = Pointwise::load(last, HEAD, vb.pp("_conv_head"))?.relu6();
        Ok(Self { conv_stem, blocks, conv_head })
    }
}

impl Model for EfficientNet {
    fn architecture(&self) -> &'static str {
        "efficientnet-lite0"
    }

    fn width(&self) -> usize {
        HEAD
    }

    /// That of its authors' evaluation, with the antialiased filter that the port's results were taken with.
    fn recipe(&self) -> Recipe {
        Recipe { size: 224, margin: 32, mean: [127.0; 3], deviation: [128.0; 3] }
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let mut x = self.conv_stem.forward(x)?;
        for block in &self.blocks {
            x = block.forward(&x)?;
        }
        self.conv_head.forward(&x)?.mean((1, 2))
    }
}

impl MBConvBlock {
    fn load(
        kernel: usize,
        stride: usize,
        expansion: usize,
        inputs: usize,
        outputs: usize,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let inner = inputs * expansion;
        let expand = || Pointwise::load(inputs, inner, vb.pp("_expand_conv")).map(Pointwise::relu6);
        Ok(Self {
            expand_conv: (expansion > 1).then(expand).transpose()?,
            depthwise_conv: Depthwise::load(kernel, stride, inner, vb.pp("_depthwise_conv"))?,
            project_conv: Pointwise::load(inner, outputs, vb.pp("_project_conv"))?,
            skip: stride == 1 && inputs == outputs,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let inner = match &self.expand_conv {
            Some(expand_conv) => expand_conv.forward(x)?,
            None => x.clone(),
        };
        let y = self.project_conv.forward(&self.depthwise_conv.forward(&inner)?)?;
        if self.skip { y + x } else { Ok(y) }
    }
}

/// Each convolution's weight as its layer reads it, and a bias, both with the batch normalisation behind it:
/// `bn(w x) = (g / s) w x + (b - g m / s)`, where `s = sqrt(variance + epsilon)`.
fn fold(tensors: &HashMap<String, Tensor>) -> Result<HashMap<String, Tensor>> {
    let mut folded = HashMap::new();
    let convolutions =
        tensors.keys().filter_map(|name| name.strip_suffix(".weight")).filter(|name| name.contains("_conv"));
    for name in convolutions {
        let (block, conv) = name.rsplit_once('.').map_or(("", name), |(block, conv)| (block, conv));
        let norm = match conv {
            "_conv_stem" | "_expand_conv" => "_bn0",
            "_depthwise_conv" | "_conv_head" => "_bn1",
            _ => "_bn2",
        };
        let norm = if block.is_empty() { norm.to_owned() } else { format!("{block}.{norm}") };
        let part = |part: &str| match tensors.get(&format!("{norm}.{part}")) {
            Some(tensor) => Ok(tensor),
            None => bail!("no tensor {norm}.{part}"),
        };
        let scale = (part("weight")? / (part("running_var")? + EPSILON)?.sqrt()?)?;
        let bias = (part("bias")? - (part("running_mean")? * &scale)?)?;
        let weight = &tensors[&format!("{name}.weight")];
        let (out, inputs, height, width) = weight.dims4()?;
        let weight = weight.broadcast_mul(&scale.reshape((out, 1, 1, 1))?)?;
        let weight = match conv {
            // out x 1 x k x k -> k * k x out
            "_depthwise_conv" => weight.reshape((out, height * width))?.t()?.contiguous()?,
            // out x in x k x k -> out x k * k * in
            _ => weight.permute((0, 2, 3, 1))?.reshape((out, height * width * inputs))?,
        };
        folded.insert(format!("{name}.weight"), weight);
        folded.insert(format!("{name}.bias"), bias);
    }
    Ok(folded)
}
