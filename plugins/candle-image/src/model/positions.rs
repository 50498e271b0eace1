//! Position embeddings, resized from one grid to another like PyTorch's interpolation of pictures.

use candle_core::{Result, Tensor, bail};

/// The interpolation. Both variants are cubic convolutions; they differ in the coefficient, and in downsampling.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Bicubic {
    /// `mode="bicubic"`: always four neighbours.
    Plain,
    /// With `antialias=True`: as many as the new grid's step spans.
    Antialiased,
}

/// `table` is `positions x width` of a square grid; the result has `rows * columns` positions.
pub(crate) fn fit(table: &Tensor, [rows, columns]: [usize; 2], bicubic: Bicubic) -> Result<Tensor> {
    let (positions, width) = table.dims2()?;
    let side = positions.isqrt();
    if [rows, columns] == [side, side] && side * side == positions {
        return Ok(table.clone());
    }
    if side * side != positions {
        bail!("{positions} positions are not a square grid, but the pictures have {rows}x{columns} patches");
    }
    let dtype = table.dtype();
    let weights = |to: usize| Tensor::from_vec(weights(side, to, bicubic), (to, side), table.device());
    // rows x side . side x (side * width), then the same across.
    let table = table.to_dtype(candle_core::DType::F32)?.reshape((side, side * width))?;
    let down = weights(rows)?.matmul(&table)?.reshape((rows, side, width))?;
    let across = weights(columns)?.broadcast_left(rows)?.contiguous()?.matmul(&down)?;
    across.reshape((rows * columns, width))?.to_dtype(dtype)
}

/// `to x from`: the weights of the old positions for each new one.
fn weights(from: usize, to: usize, bicubic: Bicubic) -> Vec<f32> {
    let step = from as f64 / to as f64;
    let mut weights = vec![0.0; to * from];
    for (row, at) in weights.chunks_exact_mut(from).zip(0..) {
        let centre = (f64::from(at) + 0.5) * step - 0.5;
        match bicubic {
            // Beyond the edge it sees the edge again.
            Bicubic::Plain => {
                for neighbour in -1..=2 {
                    let place = centre.floor() + f64::from(neighbour);
                    row[place.clamp(0.0, (from - 1) as f64) as usize] += cubic(centre - place, -0.75) as f32;
                }
            }
            Bicubic::Antialiased => {
                let span = step.max(1.0);
                let seen: Vec<f64> = (0..from).map(|place| cubic((centre - place as f64) / span, -0.5)).collect();
                let total: f64 = seen.iter().sum();
                row.iter_mut().zip(seen).for_each(|(weight, value)| *weight = (value / total) as f32);
            }
        }
    }
    weights
}

/// Keys' kernel of cubic convolution.
fn cubic(x: f64, a: f64) -> f64 {
    match x.abs() {
        x if x <= 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
        x if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
        _ => 0.0,
    }
}
