//! Products of matrices: `out = a b`, or `out += a b`, of matrices that are stored row by row or transposed.
//! On a GPU `matmul.wgsl` is the product of f32, `cooperative.wgsl` that of f16 by matrix units and `f16.wgsl` without
//! them, `software.wgsl` that of a software GPU; `plain.rs` and `bf16.rs` are those of the CPU, both in the blocks of
//! `panels.rs`, and `sparse.rs` leaves out what dropout has made 0.

pub(crate) mod bf16;
pub(crate) mod cooperative;
#[cfg(target_arch = "x86_64")]
mod fma;
mod matrix;
#[cfg(target_arch = "x86_64")]
mod panels;
mod plain;
#[cfg(target_arch = "x86_64")]
mod sparse;

use super::{Format, Gpu, Kernel, Shader, slices};
use matrix::Matrix;
pub use matrix::Order;

/// The rounding of a product's factors; sums are f32, except those of 16 terms, which are f16 on a GPU with f16 but
/// without matrix units.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// No rounding.
    #[default]
    F32,
    /// 16 bits: bf16 on the CPU; f16 on a GPU that has it, else f32.
    Bf16,
}

/// `out (m x n) = a (m x k) b (k x n)`. Reads `a`, `b`; writes `out`, which lies row by row.
#[derive(Clone, Copy, Debug)]
pub struct Matmul {
    /// Rows, columns, and terms of a sum; none is 0.
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Order,
    pub b: Order,
    /// True if the product is added to the values of `out`.
    pub accumulate: bool,
    pub precision: Precision,
    /// The formats of both factors, and of `out`, which is not added to in f16.
    pub formats: [Format; 2],
    /// The product is divided by this power of two, which brought a factor into f16's range.
    pub scale: f32,
}

/// Sides of the square of `out` that a workgroup computes.
const SIDES: [usize; 2] = [128, 64];

/// Workgroups that keep a large GPU busy.
const BUSY: usize = 256;

impl Matmul {
    /// A product of f32 in memory, of `[m, n, k]`.
    pub fn new([m, n, k]: [usize; 3], [a, b]: [Order; 2], precision: Precision) -> Self {
        Self { m, n, k, a, b, accumulate: false, precision, formats: [Format::F32; 2], scale: 1.0 }
    }

    /// True if all contiguous dimensions are multiples of four.
    fn is_in_fours(&self) -> bool {
        let [[_, a], [_, b]] = self.lines();
        [a, b, self.n].iter().all(|length| length.is_multiple_of(4))
    }

    /// The number of lines of both factors, and the values of a line.
    pub fn lines(&self) -> [[usize; 2]; 2] {
        let Self { m, n, k, .. } = *self;
        let a = if self.a == Order::Rows { [m, k] } else { [k, m] };
        [a, if self.b == Order::Rows { [k, n] } else { [n, k] }]
    }

    /// The side of the square that a workgroup computes: the larger one where enough of them keep the GPU busy.
    fn side(&self, gpu: &Gpu) -> usize {
        let [large, small] = SIDES;
        let count = self.m.div_ceil(large) * self.n.div_ceil(large);
        if count >= BUSY && gpu.workgroup >= Self::workgroup_bytes(large) { large } else { small }
    }

    /// Bytes of workgroup memory of the products without matrix units, for squares of this side.
    const fn workgroup_bytes(side: usize) -> u32 {
        (2 * 2 * 8 * (side / 4 + 1) * 16) as u32
    }

    fn product(&self, a: &[f32], b: &[f32], out: &mut [f32]) {
        let Self { m, n, k, accumulate, .. } = *self;
        let a = Matrix { values: a, order: self.a };
        let b = Matrix { values: b, order: self.b };
        match (self.precision, self.formats[0]) {
            (Precision::Bf16, Format::F32) => bf16::product([m, n, k], a, b, out, accumulate),
            _ if self.scale == 1.0 => plain::product([m, n, k], a, b, out, accumulate),
            _ => {
                let mut scaled = vec![0.0; m * n];
                plain::product([m, n, k], a, b, &mut scaled, false);
                let add =
                    |(out, value): (&mut f32, f32)| *out = value / self.scale + if accumulate { *out } else { 0.0 };
                out.iter_mut().zip(scaled).for_each(add);
            }
        }
    }
}

impl Kernel for Matmul {
    fn name(&self) -> &'static str {
        match self.precision {
            Precision::F32 => "matmul",
            Precision::Bf16 => "matmul_bf16",
        }
    }

    fn operations(&self) -> f64 {
        2.0 * self.m as f64 * self.n as f64 * self.k as f64
    }

    fn shader(&self, gpu: &Gpu) -> Shader {
        debug_assert!(self.scale == 1.0 || self.formats[0] == Format::F16, "only f16 needs a scale");
        let Self { m, n, k, a, b, accumulate, .. } = *self;
        let [factors, out] = self.formats;
        let [line_a, line_b] = self.lines().map(|[_, width]| factors.line(width));
        let ([a_row, a_column], [b_row, b_column]) = (a.steps(line_a), b.steps(line_b));
        let sizes = [m, n, k, a_row, a_column, b_row, b_column, usize::from(accumulate)];
        let orders = [a, b].map(|order| f64::from(u8::from(order == Order::Rows)));
        let mut constants = vec![("A_ROWS", orders[0]), ("B_ROWS", orders[1])];
        let side = self.side(gpu);
        let (source, entry, [rows, columns]) = match (factors, gpu.fragment, gpu.subgroups) {
            (Format::F16, Some(fragment), Some([_, subgroup])) => {
                let threads = cooperative::threads(fragment, subgroup);
                constants.extend([("HALF", out.constant()), ("THREADS", f64::from(threads))]);
                let (source, entry) = cooperative::source(fragment);
                (source, entry, [cooperative::SIDE; 2])
            }
            (Format::F16, ..) => {
                constants.push(("HALF", out.constant()));
                let (source, entry) = f16_source(side);
                (source, entry, [side; 2])
            }
            (Format::F32, _, Some([8, 8])) if gpu.software && self.is_in_fours() => {
                constants.clear();
                (concat!(include_str!("software.wgsl"), include_str!("params.wgsl")), "matmul_software", [32, 16])
            }
            _ => {
                let (source, entry) = f32_source(side, self.is_in_fours());
                (source, entry, [side; 2])
            }
        };
        Shader {
            source,
            entry,
            constants,
            // A software GPU is no faster without.
            unchecked: !gpu.software,
            params: sizes.iter().map(|&size| size as u32).chain([self.scale.to_bits()]).collect(),
            workgroups: [n.div_ceil(columns) as u32, m.div_ceil(rows) as u32, 1],
        }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        let ([a, b], [out]) = slices(reads, writes);
        let Self { m, n, .. } = *self;
        let ([lines_a, lines_b], [factors, of_out]) = (self.lines(), self.formats);
        let [a, b] = [(a, lines_a), (b, lines_b)].map(|(values, [lines, width])| factors.read(values, lines, width));
        of_out.change(out, [m, n], |out| self.product(&a, &b, out));
    }
}

/// The product of f32 on a GPU, by the side of a workgroup's square, and whether all lines are in fours.
fn f32_source(side: usize, fours: bool) -> (&'static str, &'static str) {
    macro_rules! source {
        ($side:literal, $matrices:literal) => {
            concat!(
                include_str!("matmul.wgsl"),
                include_str!("tiles.wgsl"),
                include_str!("params.wgsl"),
                "const SIDE = ",
                $side,
                "u;\n",
                include_str!($matrices)
            )
        };
    }
    match (side, fours) {
        (128, true) => (source!(128, "wide.wgsl"), "matmul"),
        (128, false) => (source!(128, "narrow.wgsl"), "matmul"),
        (_, true) => (source!(64, "wide.wgsl"), "matmul"),
        (_, false) => (source!(64, "narrow.wgsl"), "matmul"),
    }
}

/// The product of f16 on a GPU without matrix units, by the side of a workgroup's square.
fn f16_source(side: usize) -> (&'static str, &'static str) {
    macro_rules! source {
        ($side:literal) => {
            concat!(
                include_str!("f16.wgsl"),
                include_str!("tiles.wgsl"),
                include_str!("params.wgsl"),
                "const SIDE = ",
                $side,
                "u;\n",
                include_str!("../half.wgsl")
            )
        };
    }
    if side == 128 { (source!(128), "matmul_f16") } else { (source!(64), "matmul_f16") }
}

#[cfg(test)]
mod tests;
