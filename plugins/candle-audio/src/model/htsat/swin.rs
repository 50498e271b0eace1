//! Swin's blocks (Liu et al., arXiv 2103.14030) over squares of patches: attention within windows, every other time
//! shifted.

use candle_core::{Device, Result, Tensor, bail};
use candle_kit::nn::{LayerNorm, Linear};
use candle_nn::ops::softmax_last_dim;
use candle_nn::{Activation, Module, VarBuilder};

pub(super) struct SwinLayer {
    heads: usize,
    /// Patches of a window's side, and by how many windows are shifted.
    window: usize,
    shift: usize,
    layernorm_before: LayerNorm,
    /// `query`, `key` and `value` side by side: `width -> 3 width`.
    query_key_value: Linear,
    /// `1 or windows of a square x heads x window^2 x window^2`: by relative position, and -100 between patches that
    /// only the shift made neighbours.
    bias: Tensor,
    attention_output: Linear,
    layernorm_after: LayerNorm,
    intermediate: Linear,
    output: Linear,
}

impl SwinLayer {
    /// `(window, shift, side)` are in patches; `side` is that of the square.
    pub(super) fn load(
        width: usize,
        heads: usize,
        inner: usize,
        (window, shift, side): (usize, usize, usize),
        activation: Activation,
        eps: f64,
        vb: VarBuilder<'_>,
    ) -> Result<Self> {
        if width.checked_rem(heads) != Some(0) || side.checked_rem(window) != Some(0) {
            bail!(
                "a width of {width} and a square of {side} cannot be split into {heads} heads and windows of {window}"
            );
        }
        let attention = vb.pp("attention");
        let parts = ["query", "key", "value"].map(|name| (width, attention.pp("self").pp(name)));
        let offsets = 2 * window - 1;
        let table = attention.get((offsets * offsets, heads), "self.relative_position_bias_table")?;
        let bias = relative_position_bias(&table, window)?;
        let bias = match shift {
            0 => bias,
            _ => bias.broadcast_add(&mask(window, shift, side, vb.device())?.to_dtype(bias.dtype())?)?,
        };
        Ok(Self {
            heads,
            window,
            shift,
            layernorm_before: LayerNorm::load(width, eps, vb.pp("layernorm_before"))?,
            query_key_value: Linear::load_side_by_side(width, &parts)?,
            bias,
            attention_output: Linear::load(width, width, attention.pp("output.dense"))?,
            layernorm_after: LayerNorm::load(width, eps, vb.pp("layernorm_after"))?,
            intermediate: Linear::load(width, inner, vb.pp("intermediate.dense"))?.then(activation),
            output: Linear::load(inner, width, vb.pp("output.dense"))?,
        })
    }

    /// `squares * side^2 x width`, in and out.
    pub(super) fn forward(&self, hidden: &Tensor, side: usize) -> Result<Tensor> {
        let windows = self.partition(&self.layernorm_before.forward(hidden)?, side)?;
        let attended = self.reverse(&self.attend(&windows)?, side)?;
        let hidden = self.attention_output.forward_sum(&attended, hidden)?;
        let inner = self.intermediate.forward(&self.layernorm_after.forward(&hidden)?)?;
        self.output.forward_sum(&inner, &hidden)
    }

    /// Patches in the order of squares to patches in the order of windows.
    fn partition(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        let (windows, width, shift) = (side / self.window, x.dim(1)?, self.shift as i32);
        let x = match shift {
            0 => x.clone(),
            _ => x.reshape(((), side, side, width))?.roll(-shift, 1)?.roll(-shift, 2)?,
        };
        // squares * rows of windows x rows x windows of a row x columns * width
        let x = x.contiguous()?.reshape(((), self.window, windows, self.window * width))?;
        x.transpose(1, 2)?.contiguous()?.reshape(((), width))
    }

    fn reverse(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        let (windows, width, shift) = (side / self.window, x.dim(1)?, self.shift as i32);
        let x = x.reshape(((), windows, self.window, self.window * width))?.transpose(1, 2)?.contiguous()?;
        match shift {
            0 => x.reshape(((), width)),
            _ => x.reshape(((), side, side, width))?.roll(shift, 1)?.roll(shift, 2)?.contiguous()?.reshape(((), width)),
        }
    }

    /// Attention within each window of `windows * window^2 x width`.
    fn attend(&self, x: &Tensor) -> Result<Tensor> {
        let (rows, width) = x.dims2()?;
        let (heads, places) = (self.heads, self.window * self.window);
        let (windows, d) = (rows / places, width / heads);
        let qkv = self.query_key_value.forward(x)?.reshape((windows, places, 3, heads, d))?;
        // windows x heads x places x d
        let part = |index| qkv.narrow(2, index, 1)?.squeeze(2)?.transpose(1, 2)?.contiguous();
        let scores = (part(0)?.matmul(&part(1)?.t()?)? / (d as f64).sqrt())?;
        let scores = scores.reshape(((), self.bias.dim(0)?, heads, places, places))?.broadcast_add(&self.bias)?;
        let scores = softmax_last_dim(&scores)?.reshape((windows, heads, places, places))?;
        scores.matmul(&part(2)?)?.transpose(1, 2)?.contiguous()?.reshape((rows, width))
    }
}

/// `1 x heads x window^2 x window^2`, from a row of `heads` values for each offset of one patch from another.
fn relative_position_bias(table: &Tensor, window: usize) -> Result<Tensor> {
    let (places, offsets) = (window * window, 2 * window - 1);
    let offset = |one: usize, other: usize| one + window - 1 - other;
    let index = |query: usize, key: usize| {
        offset(query / window, key / window) * offsets + offset(query % window, key % window)
    };
    let indices: Vec<u32> = (0..places * places).map(|pair| index(pair / places, pair % places) as u32).collect();
    let bias = table.index_select(&Tensor::new(indices, table.device())?, 0)?;
    bias.t()?.contiguous()?.reshape((1, (), places, places))
}

/// `windows x 1 x window^2 x window^2`: 0 between patches that were neighbours before the shift, -100 between others.
fn mask(window: usize, shift: usize, side: usize, device: &Device) -> Result<Tensor> {
    let (windows, places) = (side / window, window * window);
    // The last windows hold what was shifted out at the other end, from `side - shift` on.
    let region = |at: usize| usize::from(at >= side - window) + usize::from(at >= side - shift);
    let patch = |square: usize, place: usize| {
        let (row, column) = (square / windows * window + place / window, square % windows * window + place % window);
        (region(row), region(column))
    };
    let mut mask = Vec::with_capacity(windows * windows * places * places);
    for square in 0..windows * windows {
        for pair in 0..places * places {
            let same = patch(square, pair / places) == patch(square, pair % places);
            mask.push(if same { 0f32 } else { -100.0 });
        }
    }
    Tensor::from_vec(mask, (windows * windows, 1, places, places), device)
}

/// Four neighbours become one patch, of twice the width.
pub(super) struct PatchMerging {
    norm: LayerNorm,
    reduction: Linear,
}

impl PatchMerging {
    pub(super) fn load(width: usize, eps: f64, vb: VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            norm: LayerNorm::load(4 * width, eps, vb.pp("norm"))?,
            reduction: Linear::load_without_bias(4 * width, 2 * width, vb.pp("reduction"))?,
        })
    }

    /// `squares * side^2 x width` to `squares * (side / 2)^2 x 2 width`.
    pub(super) fn forward(&self, x: &Tensor, side: usize) -> Result<Tensor> {
        let width = x.dim(1)?;
        // squares * rows / 2 x 2 rows x columns / 2 x 2 columns x width; upstream takes the columns one after the
        // other.
        let x = x.reshape(((), 2, side / 2, 2, width))?.permute((0, 2, 3, 1, 4))?.contiguous()?;
        self.reduction.forward(&self.norm.forward(&x.reshape(((), 4 * width))?)?)
    }
}
