//! Convolutions of each channel by itself.

use candle_core::{Device, Result, Tensor};
use candle_kit::nn::silu;
use candle_nn::Activation;
use pulp::{Arch, Simd, WithSimd};

use crate::channels::{is_fast, values};
use crate::reach::{Padding, Reach, taps};

pub(crate) struct Depthwise {
    kernel: usize,
    stride: usize,
    padding: Padding,
    /// `kernel * kernel x channels`
    weight: Tensor,
    /// `channels`
    bias: Tensor,
    activation: Option<Activation>,
}

impl Depthwise {
    /// `weight` is `channels x 1 x kernel x kernel`, and `bias` `channels`; of stride 1, padded as SAME.
    pub(crate) fn new(weight: &Tensor, bias: &Tensor) -> Result<Self> {
        let (_, _, kernel, _) = weight.dims4()?;
        let weight = weight.flatten_from(1)?.t()?.contiguous()?;
        Ok(Self { kernel, stride: 1, padding: Padding::Same, weight, bias: bias.clone(), activation: None })
    }

    pub(crate) fn stride(self, stride: usize) -> Self {
        Self { stride, ..self }
    }

    pub(crate) fn padding(self, padding: Padding) -> Self {
        Self { padding, ..self }
    }

    /// Puts `activation` behind the layer.
    pub(crate) fn then(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        if is_fast(x) { self.on_cpu(x) } else { self.by_taps(x) }
    }

    /// A product and a sum of whole tensors for each place of the kernel: candle's own grouped convolution is a
    /// convolution for each channel.
    fn by_taps(&self, x: &Tensor) -> Result<Tensor> {
        let mut sum = self.bias.clone();
        for (place, tap) in taps(x, self.kernel, self.stride, self.padding)?.iter().enumerate() {
            sum = tap.broadcast_mul(&self.weight.get(place)?)?.broadcast_add(&sum)?;
        }
        self.activation.iter().try_fold(sum, |sum, activation| sum.apply(activation))
    }

    /// On this thread alone: the channels of a pixel lie side by side, and so do the lanes of a vector.
    fn on_cpu(&self, x: &Tensor) -> Result<Tensor> {
        let (n, h, w, c) = x.dims4()?;
        let [rows, columns] = [h, w].map(|inputs| Reach::new(inputs, self.kernel, self.stride, self.padding));
        let x = x.contiguous()?;
        let ((x, x_layout), (weight, weight_layout)) = (x.storage_and_layout(), self.weight.storage_and_layout());
        let (bias, bias_layout) = self.bias.storage_and_layout();
        let (weight, bias) = (values(&weight, weight_layout)?, values(&bias, bias_layout)?);
        let mut y = vec![0.0; n * rows.outputs * columns.outputs * c];
        let pictures = values(&x, x_layout)?.chunks_exact(h * w * c);
        let most = if matches!(self.activation, Some(Activation::Relu6)) { 6.0 } else { f32::INFINITY };
        let least = if most == 6.0 { 0.0 } else { f32::NEG_INFINITY };
        for (x, y) in pictures.zip(y.chunks_exact_mut(rows.outputs * columns.outputs * c)) {
            Arch::new().dispatch(Picture { x, y, weight, bias, rows: &rows, columns: &columns, least, most });
        }
        let rest = match self.activation {
            Some(Activation::Silu | Activation::Swish) => {
                silu(&mut y);
                None
            }
            Some(Activation::Relu6) => None,
            other => other,
        };
        let y = Tensor::from_vec(y, (n, rows.outputs, columns.outputs, c), &Device::Cpu)?;
        rest.iter().try_fold(y, |y, activation| y.apply(activation))
    }
}

/// The convolution of one picture.
struct Picture<'a> {
    /// `height x width x channels`
    x: &'a [f32],
    y: &'a mut [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    rows: &'a Reach,
    columns: &'a Reach,
    /// Between which an output is kept.
    least: f32,
    most: f32,
}

impl WithSimd for Picture<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, _: S) {
        let channels = self.bias.len();
        for row in 0..self.rows.outputs {
            let mut channel = 0;
            while channel < channels {
                channel += match channels - channel {
                    48.. => self.row::<48>(row, channel),
                    16.. => self.row::<16>(row, channel),
                    _ => self.row::<1>(row, channel),
                };
            }
        }
    }
}

impl Picture<'_> {
    /// A row of outputs in `LANES` channels, whose sums stay in registers; says how many channels that were.
    #[inline(always)]
    fn row<const LANES: usize>(&mut self, row: usize, channel: usize) -> usize {
        let at = |pixel: usize| pixel * self.bias.len() + channel;
        let (places, top) = self.rows.seen(row);
        for column in 0..self.columns.outputs {
            let (across, left) = self.columns.seen(column);
            let mut sums: [f32; LANES] = *lanes(self.bias, channel);
            for (i, row) in places.clone().zip(top..) {
                for (j, column) in across.clone().zip(left..) {
                    let x: &[f32; LANES] = lanes(self.x, at(row * self.columns.inputs + column));
                    let weight: &[f32; LANES] = lanes(self.weight, at(i * self.columns.kernel + j));
                    (0..LANES).for_each(|lane| sums[lane] += x[lane] * weight[lane]);
                }
            }
            let y = at(row * self.columns.outputs + column);
            self.y[y..y + LANES].copy_from_slice(&sums.map(|sum| sum.clamp(self.least, self.most)));
        }
        LANES
    }
}

/// The channels from `at` on, in a number that the compiler knows.
#[inline(always)]
fn lanes<const LANES: usize>(values: &[f32], at: usize) -> &[f32; LANES] {
    values[at..].first_chunk().expect("a picture and a kernel of as many channels as biases")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in f64: `x` is `h x w x c`.
    fn naive(x: &[f32], (h, w, c): (usize, usize, usize), layer: &Depthwise) -> Vec<f32> {
        let (kernel, stride) = (layer.kernel, layer.stride);
        let weight: Vec<f32> = layer.weight.flatten_all().unwrap().to_vec1().unwrap();
        let mut y = Vec::new();
        let out = |size: usize| match layer.padding {
            // TensorFlow: as many zeros as an output for each stride takes, the odd one at the end.
            Padding::Same => size.div_ceil(stride),
            Padding::Around(before, after) => (size + before + after - kernel) / stride + 1,
        };
        let input = |out_at: usize, place: usize, size: usize| {
            let before = match layer.padding {
                Padding::Same => ((out(size) - 1) * stride + kernel).saturating_sub(size) / 2,
                Padding::Around(before, _) => before,
            };
            (out_at * stride + place).checked_sub(before).filter(|&at| at < size)
        };
        for (row, column) in (0..out(h)).flat_map(|row| (0..out(w)).map(move |column| (row, column))) {
            let mut sums: Vec<f64> = layer.bias.to_vec1::<f32>().unwrap().into_iter().map(f64::from).collect();
            for (i, j) in (0..kernel).flat_map(|i| (0..kernel).map(move |j| (i, j))) {
                let (Some(row), Some(column)) = (input(row, i, h), input(column, j, w)) else { continue };
                for (channel, sum) in sums.iter_mut().enumerate() {
                    let (x, weight) = (x[(row * w + column) * c + channel], weight[(i * kernel + j) * c + channel]);
                    *sum += f64::from(x) * f64::from(weight);
                }
            }
            y.extend(sums.into_iter().map(|sum| match layer.activation {
                Some(Activation::Relu6) => sum.clamp(0.0, 6.0) as f32,
                Some(_) => (sum / (1.0 + (-sum).exp())) as f32,
                None => sum as f32,
            }));
        }
        y
    }

    #[test]
    fn both_paths_are_the_definition() -> Result<()> {
        let (same, around) = (Padding::Same, |before, after| Padding::Around(before, after));
        let shapes = [
            (1, 1, 1, 3, 1, same),
            (7, 5, 33, 3, 2, same),
            (8, 8, 96, 5, 2, same),
            (9, 6, 65, 5, 1, same),
            (63, 3, 16, 3, 2, same),
            (4, 4, 48, 7, 4, same),
            (5, 6, 50, 7, 1, around(3, 3)),
            (7, 6, 16, 5, 2, around(1, 2)),
            (8, 7, 17, 3, 2, around(1, 1)),
        ];
        let activations = [None, Some(Activation::Relu6), Some(Activation::Silu)];
        for ((h, w, c, kernel, stride, padding), activation) in
            shapes.into_iter().flat_map(|shape| activations.map(|activation| (shape, activation)))
        {
            let random = |shape: (usize, usize)| Tensor::randn(0f32, 1.0, shape, &Device::Cpu);
            let weight = random((c, kernel * kernel))?.reshape((c, 1, kernel, kernel))?;
            let layer = Depthwise::new(&weight, &random((1, c))?.flatten_all()?)?.stride(stride).padding(padding);
            let layer = Depthwise { activation, ..layer };
            let x = random((2 * h * w, c))?.reshape((2, h, w, c))?;
            let pictures: Vec<f32> = x.flatten_all()?.to_vec1()?;
            let expected: Vec<f32> =
                pictures.chunks(h * w * c).flat_map(|picture| naive(picture, (h, w, c), &layer)).collect();
            for y in [layer.on_cpu(&x)?, layer.by_taps(&x)?] {
                let y: Vec<f32> = y.flatten_all()?.to_vec1()?;
                let apart = y.iter().zip(&expected).map(|(y, e)| (y - e).abs()).fold(0.0, f32::max);
                assert!(y.len() == expected.len() && apart < 1e-5, "{h}x{w}x{c}, {kernel}/{stride}: {apart}");
            }
        }
        Ok(())
    }
}
