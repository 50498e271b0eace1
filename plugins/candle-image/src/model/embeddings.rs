//! Embedding of pictures as the tokens of a vision transformer.

use candle_core::{Result, Tensor};

use super::patches::Patches;
use super::positions::{self, Bicubic};
use super::states::States;

/// The tokens that the first block reads.
pub(crate) struct Embeddings {
    pub(crate) patches: Patches,
    /// `special x width`, before the patches: the class token, its position included, and registers.
    pub(crate) special: Option<Tensor>,
    /// `patches x width`
    pub(crate) positions: Tensor,
}

impl Embeddings {
    /// For pictures of `size` (height and width). `table` is `positions x width`; the first is that of `class` (`1 x
    /// width`), where there is one.
    pub(crate) fn new(
        patches: Patches,
        class: Option<Tensor>,
        table: &Tensor,
        size: [usize; 2],
        bicubic: Bicubic,
    ) -> Result<Self> {
        let (special, table) = match class {
            Some(class) => {
                let rest = table.narrow(0, 1, table.dim(0)? - 1)?.contiguous()?;
                (Some((class + table.narrow(0, 0, 1)?)?), rest)
            }
            None => (None, table.clone()),
        };
        let positions = positions::fit(&table, patches.grid(size), bicubic)?;
        Ok(Self { patches, special, positions })
    }

    /// `registers x width`, behind the class token.
    pub(crate) fn with_registers(self, registers: &Tensor) -> Result<Self> {
        let special = self.special.iter().chain([registers]).collect::<Vec<_>>();
        Ok(Self { special: Some(Tensor::cat(&special, 0)?), ..self })
    }

    /// Tokens of a picture.
    pub(crate) fn tokens(&self) -> usize {
        self.positions.dims()[0] + self.special()
    }

    fn special(&self) -> usize {
        self.special.as_ref().map_or(0, |special| special.dims()[0])
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<States> {
        let patches = self.patches.forward(x)?.flatten(1, 2)?.broadcast_add(&self.positions)?;
        let pictures = patches.dim(0)?;
        let tokens = match &self.special {
            Some(special) => Tensor::cat(&[&special.broadcast_left(pictures)?, &patches], 1)?,
            None => patches,
        };
        Ok(States { tokens: tokens.flatten(0, 1)?, pictures, special: self.special() })
    }
}
