//! Kernels with matrices of f16: on both devices they are those of f32 on the same values, rounded.

use super::*;

const F16: Format = Format::F16;

/// A matrix that is read or written: f32 as it is, or lines of this width in f16.
type Matrix<'a> = (&'a [f32], Option<usize>);

fn halves(values: &[f32], width: usize) -> Vec<f32> {
    let mut out = vec![0.0; F16.values(values.len() / width, width)];
    F16.write(values, width, &mut out);
    out
}

/// Values that f16 holds.
fn rounded(len: usize, seed: u64) -> Vec<f32> {
    random(len, seed).iter().map(|value| ::half::f16::from_f32(4.0 * value).to_f32()).collect()
}

/// Checks that a kernel with matrices of f16 writes what the other one does with f32.
fn same(kernel: &dyn Kernel, of_f32: &dyn Kernel, reads: &[Matrix<'_>], writes: &[Matrix<'_>]) {
    let plain = |matrices: &[Matrix<'_>]| matrices.iter().map(|(values, _)| values.to_vec()).collect::<Vec<_>>();
    let packed = |matrices: &[Matrix<'_>]| -> Vec<Vec<f32>> {
        matrices.iter().map(|(values, width)| width.map_or(values.to_vec(), |width| halves(values, width))).collect()
    };
    fn slices(matrices: &[Vec<f32>]) -> Vec<&[f32]> {
        matrices.iter().map(Vec::as_slice).collect()
    }
    let expected = launch(&Cpu::default(), of_f32, &slices(&plain(reads)), &slices(&plain(writes)));
    let check = |device: &dyn Device| {
        let written = launch(device, kernel, &slices(&packed(reads)), &slices(&packed(writes)));
        for ((written, expected), (_, width)) in written.iter().zip(&expected).zip(writes) {
            let what = format!("{} on {}", kernel.name(), device.describe());
            let Some(width) = *width else {
                near(written, expected, 1e-4, &what);
                continue;
            };
            let values = F16.read(written, expected.len() / width, width).into_owned();
            near(&values, expected, 2e-3, &what);
            let bits = |values: &[f32]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(written), bits(&halves(&values, width)), "{what}: zeros behind the lines of {width}");
        }
    };
    check(&Cpu::default());
    if let Some(device) = wgpu() {
        check(device);
    }
}

#[test]
fn activations_and_their_gradients() {
    for (rows, width) in SIZES {
        let (x, wide) = (rounded(rows * width, 1), rounded(2 * rows * width, 2));
        let (gradient, before) = (rounded(rows * width, 3), rounded(rows * width, 4));
        let bias = random(2 * width, 5);
        let some = Some(width);
        for dropout in [Dropout::NONE, Dropout::new(0.6, 17)] {
            let glu = |format| Glu { rows, width, first: 5, dropout, format };
            let gelu = |format| Gelu { rows, width, first: 5, dropout, format };
            same(&gelu(F16), &gelu(Format::F32), &[(&x, some), (&bias[..width], None)], &[(&before, some)]);
            same(&glu(F16), &glu(Format::F32), &[(&wide, Some(2 * width)), (&bias, None)], &[(&before, some)]);
            let backward = |format| GeluBackward { rows, width, first: 5, dropout, format };
            let reads = [(&x[..], some), (&bias[..width], None)];
            same(&backward(F16), &backward(Format::F32), &reads, &[(&gradient, some), (&before, some)]);
            let reads = [(&wide[..], Some(2 * width)), (&bias[..], None), (&gradient[..], some)];
            let writes = [(&wide[..], Some(2 * width)), (&before[..], some)];
            same(&GluBackward(glu(F16)), &GluBackward(glu(Format::F32)), &reads, &writes);
        }
    }
}

#[test]
fn a_gradient_that_overflowed_is_seen_even_where_its_value_was_dropped() {
    let (width, rows, dropout) = (8, 4, Dropout::new(0.9, 3));
    let kernel = GeluBackward { rows, width, first: 0, dropout, format: F16 };
    let infinite = halves(&vec![f32::INFINITY; rows * width], width);
    let (x, bias) = (halves(&vec![1.0; rows * width], width), vec![0.0; width]);
    let check = |device: &dyn Device| {
        let written = launch(device, &kernel, &[&x, &bias], &[&infinite, &x]);
        let values = F16.read(&written[0], rows, width).into_owned();
        assert!(values.iter().all(|value| !value.is_finite()), "{}: {values:?}", device.describe());
        assert!(values.iter().any(|value| value.is_nan()), "nothing was dropped");
    };
    check(&Cpu::default());
    if let Some(device) = wgpu() {
        check(device);
    }
}

#[test]
fn rows_and_sums_of_columns() {
    for (rows, width) in SIZES {
        let (x, before, gain) = (rounded(rows * width, 1), rounded(rows * width, 2), random(width, 3));
        let moments = vec![0.5; 2 * rows];
        let some = Some(width);
        let norm = |format| LayerNorm { rows, width, format };
        let reads = [(&x[..], None), (&gain[..], None), (&gain[..], None)];
        // A row of one value has no deviation.
        if width > 1 {
            same(&norm(F16), &norm(Format::F32), &reads, &[(&before, some), (&moments, None)]);
        }
        let add = |format| AddNorm { rows, width, format };
        let reads = [(&gain[..], None), (&x[..], None), (&gain[..], None), (&gain[..], None)];
        if width > 1 {
            let writes = [(&before[..], None), (&before[..], some), (&moments[..], None)];
            same(&add(F16), &add(Format::F32), &reads, &writes);
        }
        for accumulate in [false, true] {
            let backward = LayerNormBackward { rows, width, accumulate, halved: true };
            let reads: [&[f32]; 4] = [&x, &gain, &moments, &before];
            let one = LayerNormBackward { halved: false, ..backward };
            let expected = launch(&Cpu::default(), &one, &reads, &[&x]).remove(0);
            let check = |device: &dyn Device| {
                let written = launch(device, &backward, &reads, &[&x, &halves(&x, width)]);
                near(&written[0], &expected, 1e-3, "the gradient");
                near(&F16.read(&written[1], rows, width), &expected, 3e-3, "and in f16");
            };
            check(&Cpu::default());
            if let Some(device) = wgpu() {
                check(device);
            }
        }
        let standard = |format| Standardize { rows, width, format };
        same(&standard(F16), &standard(Format::F32), &[(&x, None), (&moments, None)], &[(&before, some)]);
        for accumulate in [false, true] {
            let sum = |format| ColumnSum { rows, width, accumulate, format };
            same(&sum(F16), &sum(Format::F32), &[(&x, some)], &[(&gain, None)]);
        }
    }
}

#[test]
fn gradients_of_a_loss() {
    for (rows, columns) in SIZES {
        let (cosines, log_tau) = (random(rows * columns, 1), [-1.0]);
        let (row, column) = (random(rows, 2), random(columns, 3));
        let tile = Tile { rows, columns, begin: true };
        let gradient = Gradient { tile, pairs: 300, diagonal: rows == columns };
        let slope = vec![0.5; rows];
        // Times the scale, they are of the order of 1.
        let scale = 16.0;
        let reads: [&[f32]; 3] = [&log_tau, &row, &column];
        let expected = launch(&Cpu::default(), &gradient, &reads, &[&cosines, &slope]);
        let kernel = HalfGradient { gradient, scale };
        let reads: [&[f32]; 4] = [&log_tau, &row, &column, &cosines];
        let before = vec![1.0; F16.values(rows, columns)];
        let check = |device: &dyn Device| {
            let written = launch(device, &kernel, &reads, &[&before, &slope]);
            let values: Vec<f32> = F16.read(&written[0], rows, columns).iter().map(|value| value / scale).collect();
            near(&values, &expected[0], 1e-3, "gradients in f16");
            near(&written[1], &expected[1], 1e-4, "their slopes");
        };
        check(&Cpu::default());
        if let Some(device) = wgpu() {
            check(device);
        }
    }
}

#[test]
fn the_scale_halves_at_an_overflow_and_doubles_after_enough_steps_without() {
    const PARTS: usize = SquareSums::PARTS;
    let kernel = |longest| LossScale { count: 2 * PARTS, unscaled: true, longest, range: [1.0, 1024.0] };
    let parts = |scaled: f32, unscaled: f32| {
        let mut parts = vec![0.0; 2 * PARTS];
        (parts[3], parts[PARTS]) = (scaled, unscaled);
        parts
    };
    let step = |longest, parts: &[f32], [scale, steps]: [f32; 2]| {
        let written = both(&kernel(longest), &[parts], &[&[scale, steps, 3.0], &[7.0], &[7.0]], 1e-6);
        assert_eq!(written[0][2], if written[1][0] < 0.0 { 4.0 } else { 0.0 }, "steps in a row that are not taken");
        ([written[0][0], written[0][1]], written[1][0], written[2][0])
    };
    // Of length 5 without the scale: 4 of the scaled ones, 3 of the other.
    let five = parts((4.0f32 * 64.0).powi(2), 9.0);
    assert_eq!(step(f32::MAX, &five, [64.0, 3.0]), ([64.0, 4.0], 1.0 / 64.0, 1.0));
    let (_, factor, unscaled) = step(1.0, &five, [64.0, 3.0]);
    assert!((unscaled - 0.2).abs() < 1e-6 && (factor - 0.2 / 64.0).abs() < 1e-8, "{factor}, {unscaled}");
    for bad in [f32::INFINITY, f32::NAN] {
        assert_eq!(step(1.0, &parts(bad, 9.0), [64.0, 3.0]), ([32.0, 0.0], -1.0, -1.0));
        assert_eq!(step(1.0, &parts(1.0, bad), [1.0, 3.0]), ([1.0, 0.0], -1.0, -1.0), "no less than its least");
    }
    let last = LossScale::STEPS - 1.0;
    assert_eq!(step(f32::MAX, &five, [64.0, last]).0, [128.0, 0.0]);
    assert_eq!(step(f32::MAX, &five, [1024.0, last]).0, [1024.0, 0.0], "no more than its most");
    // A step that is not to be taken changes nothing.
    let (values, moments) = (random(70, 1), random(70, 2).iter().map(|x| x * x).collect::<Vec<_>>());
    let adam = AdamW { count: 70, lr: 0.1, betas: [0.9, 0.99], epsilon: 1e-7, decay: 0.1, step: 3, range: [-1e9, 1e9] };
    let gradient = vec![f32::NAN; 70];
    let written = both(&adam, &[&gradient, &[-1.0]], &[&values, &moments, &moments], 0.0);
    assert_eq!(written, [values, moments.clone(), moments]);
}
