//! Loops over f32 that the compiler vectorises, compiled for each width of vectors; [`run`] takes the machine's widest.

use pulp::{Arch, Simd, WithSimd};
use std::f32::consts::{FRAC_1_SQRT_2, LOG2_E};

pub(super) fn run(work: impl WithSimd<Output = ()>) {
    Arch::new().dispatch(work);
}

/// `x <- x (1 + erf(x / sqrt 2)) / 2`
pub(super) struct Gelu<'a>(pub(super) &'a mut [f32]);

impl WithSimd for Gelu<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for value in self.0 {
            *value = 0.5 * *value * (1.0 + erf::<S>(*value * FRAC_1_SQRT_2));
        }
    }
}

/// `x <- x sigmoid(gate(x))`
pub(super) struct Gate<'a, F>(pub(super) &'a mut [f32], pub(super) F);

impl<F: Fn(f32) -> f32> WithSimd for Gate<'_, F> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for value in self.0 {
            let gate = (self.1)(*value);
            // e^-|g| never overflows.
            let e = exp::<S>(-gate.abs());
            let above = if gate < 0.0 { e } else { 1.0 };
            *value *= above / (1.0 + e);
        }
    }
}

/// `x <- min(max(x, 0), 6)`
pub(super) struct Relu6<'a>(pub(super) &'a mut [f32]);

impl WithSimd for Relu6<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        self.0.iter_mut().for_each(|value| *value = value.clamp(0.0, 6.0));
    }
}

/// Each row of `width` values becomes `exp(row - its largest)`, and `sums` learns the row's sum: the softmax is their
/// quotient.
pub(super) struct Exp<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) width: usize,
    pub(super) sums: &'a mut [f32],
}

impl WithSimd for Exp<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        for (row, sum) in self.rows.chunks_exact_mut(self.width).zip(self.sums) {
            let max = max(row);
            let (chunks, rest) = row.as_chunks_mut::<LANES>();
            let mut lanes = [0.0; LANES];
            for chunk in chunks {
                for (lane, value) in lanes.iter_mut().zip(chunk) {
                    *value = exp::<S>(*value - max);
                    *lane += *value;
                }
            }
            rest.iter_mut().for_each(|value| *value = exp::<S>(*value - max));
            *sum = lanes.iter().chain(&*rest).sum();
        }
    }
}

/// Each row becomes `(row - mean) / sqrt(variance + eps) * weight + bias`; a row is as long as `weight`.
pub(super) struct LayerNorm<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) weight: &'a [f32],
    pub(super) bias: &'a [f32],
    pub(super) eps: f32,
}

impl WithSimd for LayerNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.weight.len();
        for row in self.rows.chunks_exact_mut(width) {
            let mean = sum(row, |value| value) / width as f32;
            row.iter_mut().for_each(|value| *value -= mean);
            let variance = sum(row, |value| value * value) / width as f32;
            let scale = 1.0 / (variance + self.eps).sqrt();
            for ((value, weight), bias) in row.iter_mut().zip(self.weight).zip(self.bias) {
                *value = *value * scale * weight + bias;
            }
        }
    }
}

/// Each row becomes `row / sqrt(mean of squares + eps) * weight`; a row is as long as `weight`.
pub(super) struct RmsNorm<'a> {
    pub(super) rows: &'a mut [f32],
    pub(super) weight: &'a [f32],
    pub(super) eps: f32,
}

impl WithSimd for RmsNorm<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let width = self.weight.len();
        for row in self.rows.chunks_exact_mut(width) {
            let scale = 1.0 / (sum(row, |value| value * value) / width as f32 + self.eps).sqrt();
            row.iter_mut().zip(self.weight).for_each(|(value, weight)| *value *= scale * weight);
        }
    }
}

/// Each row turns by its angles: of `d` columns, the first half and the second are the coordinates of `d / 2` points.
pub(super) struct Rotary<'a> {
    /// `tokens x heads * d`
    pub(super) rows: &'a mut [f32],
    pub(super) heads: usize,
    /// `tokens x d / 2`
    pub(super) cos: &'a [f32],
    pub(super) sin: &'a [f32],
    pub(super) half: usize,
}

impl WithSimd for Rotary<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let angles = self.cos.chunks_exact(self.half).zip(self.sin.chunks_exact(self.half));
        for (token, (cos, sin)) in self.rows.chunks_exact_mut(2 * self.half * self.heads).zip(angles) {
            for head in token.chunks_exact_mut(2 * self.half) {
                let (xs, ys) = head.split_at_mut(self.half);
                for ((x, y), (cos, sin)) in xs.iter_mut().zip(ys).zip(cos.iter().zip(sin)) {
                    (*x, *y) = (*x * cos - *y * sin, *y * cos + *x * sin);
                }
            }
        }
    }
}

/// Independent partial results, so that a reduction runs in vectors.
const LANES: usize = 16;

#[inline(always)]
fn sum(values: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += term(value);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&value| term(value)).sum::<f32>()
}

#[inline(always)]
fn max(values: &[f32]) -> f32 {
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = larger(*lane, value);
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| larger(a, b))
}

/// `a b + c`, rounded once where the machine does that in one step. Elsewhere the standard function would be slow.
#[inline(always)]
fn fused<S: Simd>(a: f32, b: f32, c: f32) -> f32 {
    if S::IS_SCALAR { a * b + c } else { a.mul_add(b, c) }
}

/// The polynomial with these coefficients, that of the highest power first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.into_iter().reduce(|sum, coefficient| fused::<S>(sum, x, coefficient)).unwrap_or(0.0)
}

/// `e^x` for `x <= 0`, to 2 units in the last place: `2^n e^r` with `|r| <= ln 2 / 2`; 0 below -87, for numbers next to
/// nothing have few digits and cost a product a hundred times as much.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "Cephes' coefficients as published")]
fn exp<S: Simd>(x: f32) -> f32 {
    /// 1.5 x 2^23: adding it rounds to a whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN_2_HIGH: f32 = 0.693_359_375;
    const LN_2_LOW: f32 = -2.121_944_40e-4;
    const P: [f32; 6] = [
        1.987_569_150_0e-4,
        1.398_199_950_7e-3,
        8.333_451_907_3e-3,
        4.166_579_589_4e-2,
        1.666_666_545_9e-1,
        5.000_000_120_1e-1,
    ];
    let rounded = fused::<S>(x, LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = fused::<S>(-n, LN_2_LOW, fused::<S>(-n, LN_2_HIGH, x));
    let power = f32::from_bits((rounded.to_bits() << 23).wrapping_add(127 << 23));
    let power = fused::<S>(polynomial::<S, 6>(r, P), r * r, r + 1.0) * power;
    if x < -87.0 { 0.0 } else { power }
}

/// The error function to 5e-7, by the rational approximation that Eigen and XLA use.
#[inline(always)]
#[allow(clippy::excessive_precision, reason = "the coefficients as published")]
fn erf<S: Simd>(x: f32) -> f32 {
    const P: [f32; 7] = [
        -2.726_142_258_013_06e-10,
        2.770_681_424_959_02e-8,
        -2.101_024_020_825_08e-6,
        -5.692_506_394_623_46e-5,
        -7.349_906_303_268_55e-4,
        -2.954_599_808_540_25e-3,
        -1.609_603_332_624_15e-2,
    ];
    const Q: [f32; 5] = [
        -1.456_607_184_649_96e-5,
        -2.133_740_552_789_05e-4,
        -1.682_826_974_382_03e-3,
        -7.373_329_167_204_68e-3,
        -1.426_473_905_141_89e-2,
    ];
    let x = if x > 4.0 { 4.0 } else { x };
    let x = if x < -4.0 { -4.0 } else { x };
    x * polynomial::<S, 7>(x * x, P) / polynomial::<S, 5>(x * x, Q)
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};

    use super::{Exp, Gelu, LayerNorm, exp, run};

    fn spread(values: usize, from: f32, to: f32) -> Vec<f32> {
        (0..values).map(|at| from + (to - from) * at as f32 / values as f32).collect()
    }

    #[test]
    fn exp_is_the_standard_one() {
        // In rows whose largest is 0.
        let exps = |xs: &[f32]| {
            let (mut rows, mut sums) = (xs.iter().flat_map(|&x| [0.0, x]).collect::<Vec<_>>(), vec![0.0; xs.len()]);
            run(Exp { rows: &mut rows, width: 2, sums: &mut sums });
            rows.into_iter().skip(1).step_by(2).collect::<Vec<f32>>()
        };
        let xs = spread(100_000, -87.0, 0.0);
        for (x, e) in xs.iter().zip(exps(&xs)) {
            assert!((e / x.exp() - 1.0).abs() < 3e-7, "{x}: {e} is not {}", x.exp());
            assert!((exp::<pulp::Scalar>(*x) / x.exp() - 1.0).abs() < 3e-7, "{x}, without vectors");
        }
        assert_eq!(exps(&[-87.1, -1e30, f32::NEG_INFINITY]), [0.0; 3]);
        assert!(exps(&[f32::NAN])[0].is_nan());
    }

    #[test]
    fn gelu_is_candles() -> candle_core::Result<()> {
        let xs = spread(100_000, -8.0, 8.0);
        let mut ys = xs.clone();
        run(Gelu(&mut ys));
        let exact = Tensor::new(xs, &Device::Cpu)?.to_dtype(DType::F64)?.gelu_erf()?;
        let apart = (Tensor::new(ys, &Device::Cpu)?.to_dtype(DType::F64)? - exact)?.abs()?.max_all()?;
        assert!(apart.to_scalar::<f64>()? < 2e-6, "{apart}");
        Ok(())
    }

    #[test]
    fn rows_of_any_width() {
        for width in [1, 15, 16, 63, 65, 257] {
            let rows = spread(3 * width, -9.0, 9.0);
            let (mut exps, mut sums) = (rows.clone(), [0.0; 3]);
            run(Exp { rows: &mut exps, width, sums: &mut sums });
            let mut normal = rows.clone();
            let (weight, bias) = (vec![2.0; width], vec![1.0; width]);
            run(LayerNorm { rows: &mut normal, weight: &weight, bias: &bias, eps: 1e-5 });
            let rows = rows.chunks(width).zip(sums).zip(exps.chunks(width)).zip(normal.chunks(width));
            for (((row, sum), exps), y) in rows {
                let total: f32 = row.iter().map(|x| (x - row[width - 1]).exp()).sum();
                let mean = row.iter().sum::<f32>() / width as f32;
                let variance = row.iter().map(|x| (x - mean) * (x - mean)).sum::<f32>() / width as f32;
                for at in 0..width {
                    let expected = (row[at] - row[width - 1]).exp() / total;
                    assert!((exps[at] / sum - expected).abs() < 1e-6, "softmax, width {width}, column {at}");
                    let expected = 2.0 * (row[at] - mean) / (variance + 1e-5).sqrt() + 1.0;
                    assert!((y[at] - expected).abs() < 1e-4, "layer norm, width {width}, column {at}");
                }
            }
        }
    }
}
