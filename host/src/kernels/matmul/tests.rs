//! Products by the definition, and each shader against the twin, in sizes that fit no tile.

use super::*;
use crate::device::{Cpu, Device, tests::wgpu};
use crate::kernels::Halve;
use crate::kernels::tests::{launch, near, random};

/// The product by the definition, in f64, added to `out`.
fn definition(kernel: &Matmul, a: &[f32], b: &[f32], out: &[f32]) -> Vec<f32> {
    let Matmul { m, n, k, .. } = *kernel;
    let at = |order, rows: usize, columns: usize, row: usize, column: usize| match order {
        Order::Rows => row * columns + column,
        Order::Columns => column * rows + row,
    };
    let value = |i: usize, j: usize| {
        let term = |l: usize| f64::from(a[at(kernel.a, m, k, i, l)]) * f64::from(b[at(kernel.b, k, n, l, j)]);
        let before = if kernel.accumulate { f64::from(out[i * n + j]) } else { 0.0 };
        (before + (0..k).map(term).sum::<f64>()) as f32
    };
    (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| value(i, j)).collect()
}

const PRODUCTS: [(usize, usize, usize); 9] = [
    (1, 1, 1),
    (4, 4, 4),
    (68, 60, 28),
    (63, 65, 257),
    (65, 63, 1),
    (1, 257, 65),
    (130, 70, 17),
    (25, 33, 2),
    (513, 40, 300),
];

/// The orders of factors in training, and whether the product is added.
fn orders() -> impl Iterator<Item = (Order, Order, bool)> {
    use Order::{Columns, Rows};
    let orders = [(Rows, Columns), (Rows, Rows), (Columns, Rows)];
    orders.into_iter().flat_map(|(a, b)| [(a, b, false), (a, b, true)])
}

/// A product by one of its shaders.
struct By<'a>(&'a Matmul, Shader);

impl<'a> By<'a> {
    /// The shader for this GPU.
    fn gpu(kernel: &'a Matmul, gpu: Gpu) -> Self {
        Self(kernel, kernel.shader(&gpu))
    }

    /// The shader for this GPU with another source, whose workgroups compute `side x side` values.
    fn source(kernel: &'a Matmul, gpu: Gpu, (source, entry): (&'static str, &'static str), side: usize) -> Self {
        let [x, y] = [kernel.n, kernel.m].map(|length| length.div_ceil(side) as u32);
        Self(kernel, Shader { source, entry, workgroups: [x, y, 1], ..kernel.shader(&gpu) })
    }
}

impl Kernel for By<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn shader(&self, _: &Gpu) -> Shader {
        let Shader { source, entry, ref constants, unchecked, ref params, workgroups } = self.1;
        Shader { source, entry, constants: constants.clone(), unchecked, params: params.clone(), workgroups }
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        self.0.twin(reads, writes);
    }
}

#[test]
fn f32_is_the_definition_by_each_shader() {
    for (m, n, k) in PRODUCTS {
        let (x, y, out) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
        for (a, b, accumulate) in orders() {
            let kernel = Matmul { accumulate, ..Matmul::new([m, n, k], [a, b], Precision::F32) };
            let expected = definition(&kernel, &x, &y, &out);
            let check = |device: &dyn Device, by: &dyn Kernel, name: &str| {
                let written = launch(device, by, &[&x, &y], &[&out]).remove(0);
                near(&written, &expected, 2e-5, &format!("{name} {kernel:?}"));
            };
            check(&Cpu::default(), &kernel, "twin");
            let Some(device) = wgpu() else { continue };
            check(device, &kernel, "as the device would");
            for (side, fours) in [(64, false), (128, false), (64, true), (128, true)] {
                if !fours || kernel.is_in_fours() {
                    let by = By::source(&kernel, Gpu::default(), f32_source(side, fours), side);
                    check(device, &by, &format!("squares of {side}, in fours {fours}"));
                }
            }
        }
    }
}

#[test]
fn bf16_is_the_product_of_rounded_factors() {
    let round = |value: f32| {
        let bits = value.to_bits();
        f32::from_bits((bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff_0000)
    };
    for (m, n, k) in PRODUCTS {
        let (x, y, out) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
        let [rounded_x, rounded_y] =
            [&x, &y].map(|values| values.iter().map(|&value| round(value)).collect::<Vec<_>>());
        for (a, b, accumulate) in orders() {
            let kernel = Matmul { accumulate, ..Matmul::new([m, n, k], [a, b], Precision::Bf16) };
            let written = launch(&Cpu::default(), &kernel, &[&x, &y], &[&out]).remove(0);
            near(&written, &definition(&kernel, &rounded_x, &rounded_y, &out), 2e-5, &format!("{kernel:?}"));
        }
    }
}

/// A matrix in f16, and the values that it then has.
fn halved(values: &[f32], order: Order, [rows, columns]: [usize; 2]) -> (Vec<f32>, Vec<f32>) {
    let [lines, width] = if order == Order::Rows { [rows, columns] } else { [columns, rows] };
    let mut halves = vec![0.0; Format::F16.values(lines, width)];
    Format::F16.write(values, width, &mut halves);
    let values = Format::F16.read(&halves, lines, width).into_owned();
    (halves, values)
}

/// The stand-in for matrix units that multiply squares of this side.
fn stand_in(fragment: u32) -> (&'static str, &'static str) {
    macro_rules! source {
        ($fragment:literal) => {
            concat!(
                include_str!("stand_in.wgsl"),
                "const FRAGMENT = ",
                $fragment,
                "u;\n",
                include_str!("cooperative.wgsl"),
                include_str!("params.wgsl"),
                include_str!("../half.wgsl")
            )
        };
    }
    (if fragment == 16 { source!(16) } else { source!(8) }, "matmul_stand_in")
}

#[test]
fn f16_is_the_product_of_halves_by_each_shader() {
    // Whole squares of a workgroup too, which are written without a detour.
    for (m, n, k) in [(1, 1, 1), (63, 65, 33), (130, 70, 17), (128, 256, 40), (257, 129, 31)] {
        let (x, y, out) = (random(m * k, 1), random(k * n, 2), random(m * n, 3));
        for (a, b, accumulate) in orders() {
            let ((halves_x, x), (halves_y, y)) = (halved(&x, a, [m, k]), halved(&y, b, [k, n]));
            for format in [Format::F32, Format::F16] {
                if accumulate && format == Format::F16 {
                    continue;
                }
                let formats = [Format::F16, format];
                // The scale of x, a gradient.
                let scale = 4.0;
                let kernel = Matmul { accumulate, formats, scale, ..Matmul::new([m, n, k], [a, b], Precision::Bf16) };
                let unscaled: Vec<f32> = x.iter().map(|x| x / scale).collect();
                let expected = definition(&kernel, &unscaled, &y, &out);
                let before = if format == Format::F32 { out.clone() } else { vec![7.0; format.values(m, n)] };
                let check = |device: &dyn Device, by: &dyn Kernel, tolerance: f32, name: &str| {
                    let written = launch(device, by, &[&halves_x, &halves_y], &[&before]).remove(0);
                    let rounding = if format == Format::F16 { 1e-3 } else { 0.0 };
                    near(&format.read(&written, m, n), &expected, tolerance + rounding, &format!("{name} {kernel:?}"));
                    if format == Format::F16 {
                        let mut again = written.clone();
                        format.write(&format.read(&written, m, n), n, &mut again);
                        let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
                        assert_eq!(bits(&written), bits(&again), "{name}: zeros behind the lines");
                    }
                };
                check(&Cpu::default(), &kernel, 2e-5, "twin");
                let Some(device) = wgpu() else { continue };
                // Sums of 16 terms are f16.
                for side in SIDES {
                    let by = By::source(&kernel, Gpu::default(), f16_source(side), side);
                    check(device, &by, 1e-2, &format!("squares of {side}"));
                }
                // Each takes seconds to compile, so both see all orders and formats, but not all together.
                let by_row = (a, b) == (Order::Rows, Order::Columns);
                for fragment in [8, 16].into_iter().filter(|&side| by_row == (side == 16) || format == Format::F32) {
                    // 128 threads, whatever the side.
                    let subgroups = Some([128 / cooperative::threads(fragment, 1); 2]);
                    let gpu = Gpu { fragment: Some(fragment), subgroups, f16: true, ..Gpu::default() };
                    let by = By::source(&kernel, gpu, stand_in(fragment), cooperative::SIDE);
                    check(device, &by, 2e-5, &format!("stand-in for {fragment}"));
                }
                if device.gpu().fragment.is_some() {
                    check(device, &By::gpu(&kernel, *device.gpu()), 2e-5, "matrix units");
                }
            }
        }
    }
}

#[test]
fn halves_beyond_the_range_are_infinite() {
    for (rows, width) in [(1, 1), (3, 7), (5, 8), (2, 65)] {
        let mut values = random(rows * width, 1);
        values[0] = 70_000.0;
        if rows * width > 3 {
            (values[1], values[2]) = (f32::NAN, 65_519.0);
        }
        values[rows * width - 1] = if rows * width > 1 { -1e9 } else { 70_000.0 };
        let kernel = Halve { rows, width, scale: 1.0 };
        let before = vec![3.0; Format::F16.values(rows, width)];
        let cpu = launch(&Cpu::default(), &kernel, &[&values], &[&before]).remove(0);
        let read = Format::F16.read(&cpu, rows, width);
        assert_eq!(read[0], f32::INFINITY);
        assert!(rows * width < 3 || read[1].is_nan());
        for (half, value) in read.iter().zip(&values).filter(|(half, _)| half.is_finite()) {
            assert!((half - value).abs() <= 1e-3 * value.abs().max(1.0), "{half} for {value}");
        }
        if let Some(device) = wgpu() {
            let gpu = launch(device, &kernel, &[&values], &[&before]).remove(0);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&gpu), bits(&cpu), "{rows} x {width}");
        }
    }
}
