//! Convolutions whose kernels do not overlap: each patch of a picture through the same linear layer.

use candle_core::{Result, Tensor};
use candle_kit::nn::Linear;
use candle_nn::{Module, VarBuilder};

pub(crate) struct Patches {
    /// Pixels of each side.
    size: usize,
    /// From the `size x size x channels` values of a patch, rows from the top.
    projection: Linear,
}

impl Patches {
    /// Reads `weight` (`out x channels x size x size`), and `bias` (`out`) if there is one.
    pub(crate) fn load(size: usize, channels: usize, outputs: usize, vb: VarBuilder<'_>) -> Result<Self> {
        let weight = vb.get((outputs, channels, size, size), "weight")?;
        let weight = weight.permute((0, 2, 3, 1))?.reshape((outputs, size * size * channels))?;
        let bias = match vb.contains_tensor("bias") {
            true => vb.get(outputs, "bias")?,
            false => Tensor::zeros(outputs, vb.dtype(), vb.device())?,
        };
        Ok(Self { size, projection: Linear::new(&weight, &bias)? })
    }

    /// Rows and columns of patches in a picture of `size` (height and width).
    pub(crate) fn grid(&self, size: [usize; 2]) -> [usize; 2] {
        size.map(|side| side / self.size)
    }

    /// `n x height x width x channels` -> `n x rows x columns x out`; incomplete patches are dropped.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let (n, height, width, channels) = x.dims4()?;
        let (size, [rows, columns]) = (self.size, self.grid([height, width]));
        let x = x.narrow(1, 0, rows * size)?.narrow(2, 0, columns * size)?.contiguous()?;
        // n, rows, size, columns, size * channels: the last lies in one piece.
        let x = x.reshape((n, rows, size, columns, size * channels))?.transpose(2, 3)?.contiguous()?;
        let x = x.reshape((n * rows * columns, size * size * channels))?;
        self.projection.forward(&x)?.reshape((n, rows, columns, ()))
    }
}
