//! Each kernel on wgpu against its twin, in sizes that fit no workgroup; the twins against the definition.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::device::{Buffer, Cpu, Device, tests::wgpu};

/// Odd sizes: less than a lane, just off a workgroup, more than one.
const SIZES: [(usize, usize); 4] = [(1, 1), (63, 65), (65, 257), (257, 63)];

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// What a launch leaves in its writes, on `device`.
fn launch(device: &dyn Device, kernel: &dyn Kernel, reads: &[&[f32]], writes: &[&[f32]]) -> Vec<Vec<f32>> {
    let upload = |values: &[&[f32]]| values.iter().map(|values| device.upload(values)).collect::<Vec<Buffer>>();
    let (reads, writes) = (upload(reads), upload(writes));
    device.launch(kernel, &reads.iter().collect::<Vec<_>>(), &writes.iter().collect::<Vec<_>>());
    writes.iter().map(|write| device.read(write).unwrap()).collect()
}

/// Runs the twin, holds wgpu against it, and returns what it wrote.
fn both(kernel: &dyn Kernel, reads: &[&[f32]], writes: &[&[f32]], tolerance: f32) -> Vec<Vec<f32>> {
    let twin = launch(&Cpu, kernel, reads, writes);
    let Some(device) = wgpu() else { return twin };
    let shader = launch(device, kernel, reads, writes);
    for (write, (twin, shader)) in twin.iter().zip(&shader).enumerate() {
        near(shader, twin, tolerance, &format!("{} {:?}, write {write}", kernel.entry(), kernel.params()));
    }
    twin
}

fn near(values: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(values.len(), expected.len(), "{what}");
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        let apart = (value - expected).abs() / expected.abs().max(1.0);
        assert!(apart <= tolerance, "{what}, value {at}: {value} and not {expected}");
    }
}

#[test]
fn matmul() {
    for (m, n, k) in [(1, 1, 1), (63, 65, 257), (65, 63, 1), (1, 257, 65), (130, 70, 17)] {
        let (a, b, out) = (random(m * k + 3, 1), random(k * n + 5, 2), random(m * n + 7, 3));
        for transposed in [false, true] {
            let view = |start, rows, columns| match transposed {
                true => View::transposed(rows).from(start),
                false => View::rows(columns).from(start),
            };
            for accumulate in [false, true] {
                let kernel = Matmul { m, n, k, a: view(3, m, k), b: view(5, k, n), out: 7, accumulate };
                let written = both(&kernel, &[&a, &b], &[&out], 2e-5).remove(0);
                let value = |matrix: &[f32], view: View, row, column| {
                    f64::from(matrix[view.start + row * view.row + column * view.column])
                };
                let mut expected = out.clone();
                for (i, j) in (0..m).flat_map(|i| (0..n).map(move |j| (i, j))) {
                    let sum: f64 = (0..k).map(|l| value(&a, kernel.a, i, l) * value(&b, kernel.b, l, j)).sum();
                    let before = if accumulate { f64::from(out[7 + i * n + j]) } else { 0.0 };
                    expected[7 + i * n + j] = (before + sum) as f32;
                }
                near(&written, &expected, 2e-5, &format!("{kernel:?}"));
            }
        }
    }
}

#[test]
fn elementwise() {
    for (rows, width) in SIZES {
        let count = rows * width;
        let (x, y, bias) = (random(2 * count, 1), random(count, 2), random(width, 3));
        let mixed = both(&Mix { count, lambda: 0.3 }, &[&x], &[&y], 1e-6).remove(0);
        assert!((mixed[count - 1] - (0.3 * x[count - 1] + 0.7 * x[2 * count - 1])).abs() < 1e-6);
        let wide: Vec<f32> = x.iter().map(|x| 6.0 * x).collect();
        for dropout in [Dropout::NONE, Dropout::new(0.6, 17)] {
            both(&Gelu { count, dropout }, &[&wide], &[&y], 1e-6);
            both(&GeluBackward { count, dropout }, &[&wide], &[&y], 1e-5);
        }
        both(&AddBias { rows, width, residual: false }, &[&bias], &[&y], 0.0);
        both(&AddBias { rows, width, residual: true }, &[&bias, &x], &[&y], 1e-6);
        both(&ColumnSum { rows, width }, &[&x], &[&bias], 1e-5);
        let moments: Vec<f32> = x[..count].iter().map(|x| x * x).collect();
        let step = AdamW { count, lr: 0.01, decay: 0.1, step: 3, range: [-0.5, 0.5] };
        both(&step, &[&x], &[&y, &mixed, &moments], 1e-5);
    }
}

#[test]
fn rows() {
    for (rows, width) in SIZES {
        let (x, gain, shift) = (random(rows * width, 1), random(width, 2), random(width, 3));
        let (gradient, moments, inverse) = (random(rows * width, 4), vec![0.0; 2 * rows], vec![0.0; rows]);
        let written = both(&LayerNorm { rows, width }, &[&x, &gain, &shift], &[&gradient, &moments], 1e-4);
        let [_, moments] = &written[..] else { panic!("two writes") };
        for accumulate in [false, true] {
            let kernel = LayerNormBackward { rows, width, accumulate };
            both(&kernel, &[&x, &gain, moments, &gradient], &[&x], 1e-3);
        }
        both(&LayerNormGains { rows, width }, &[&x, moments, &gradient], &[&gain, &shift], 1e-3);
        let written = both(&Normalize { rows, width }, &[&x], &[&gradient, &inverse], 1e-5);
        both(&NormalizeBackward { rows, width }, &[&written[0], &written[1]], &[&gradient], 1e-4);
    }
}

#[test]
fn gelu_is_the_exact_one() {
    // x Phi(x) with libm's erf, from PyTorch.
    let known = [(-3.0, -0.004_049_69), (-1.0, -0.158_655_26), (0.0, 0.0), (0.5, 0.345_731_23), (2.0, 1.954_499_7)];
    let x = known.map(|(x, _)| x);
    let written = launch(&Cpu, &Gelu { count: 5, dropout: Dropout::NONE }, &[&x], &[&[0.0; 5]]).remove(0);
    near(&written, &known.map(|(_, y)| y), 1e-6, "gelu");
}

#[test]
fn dropout_leaves_out_its_share_and_keeps_the_mean() {
    let count = 100_000;
    let ones = vec![10.0; count];
    let mask = |key| launch(&Cpu, &Gelu { count, dropout: Dropout::new(0.6, key) }, &[&ones], &[&ones]).remove(0);
    let masked = mask(1);
    let kept = masked.iter().filter(|&&value| value != 0.0).count();
    assert!((39_500..40_500).contains(&kept), "{kept}");
    assert!(masked.iter().all(|&value| value == 0.0 || (value - 25.0).abs() < 1e-4));
    let same = masked.iter().zip(mask(2)).filter(|(a, b)| (**a == 0.0) == (*b == 0.0)).count();
    assert!((51_500..52_500).contains(&same), "{same}");
}

/// Loss, gradient to the cosines and to log tau, by the definition.
fn info_nce(cosines: &[f32], pairs: usize, log_tau: f32) -> (f64, Vec<f32>, f64) {
    let logit = |i: usize, j: usize| f64::from(cosines[i * pairs + j]) / f64::from(log_tau).exp();
    let row: Vec<f64> = (0..pairs).map(|i| (0..pairs).map(|j| logit(i, j).exp()).sum()).collect();
    let column: Vec<f64> = (0..pairs).map(|j| (0..pairs).map(|i| logit(i, j).exp()).sum()).collect();
    let loss = (0..pairs).map(|i| row[i].ln() + column[i].ln() - 2.0 * logit(i, i)).sum::<f64>();
    let (mut gradient, mut slope) = (Vec::new(), 0.0);
    for (i, j) in (0..pairs).flat_map(|i| (0..pairs).map(move |j| (i, j))) {
        let e = logit(i, j).exp();
        let g = (e / row[i] + e / column[j] - if i == j { 2.0 } else { 0.0 }) / (2.0 * pairs as f64);
        gradient.push((g / f64::from(log_tau).exp()) as f32);
        slope -= g * logit(i, j);
    }
    (loss / (2.0 * pairs as f64), gradient, slope)
}

#[test]
fn info_nce_in_tiles_is_the_definition() {
    for (pairs, tile_rows) in [(1, 1), (63, 63), (65, 16), (257, 100)] {
        let (cosines, log_tau) = (random(pairs * pairs, 1), [-2.0]);
        let tiles =
            (0..pairs).step_by(tile_rows).map(|first| Tile { first, rows: tile_rows.min(pairs - first), pairs });
        let part = |tile: Tile| &cosines[tile.first * pairs..(tile.first + tile.rows) * pairs];
        let zeros = vec![0.0; pairs];
        let [mut row, mut own, mut most, mut sum, mut slope] = [(); 5].map(|()| zeros.clone());
        for tile in tiles.clone() {
            let written = both(&RowSums(tile), &[part(tile), &log_tau], &[&row, &own], 1e-5);
            [row, own] = written.try_into().unwrap();
            let written = both(&ColumnSums(tile), &[part(tile), &log_tau], &[&most, &sum], 1e-5);
            [most, sum] = written.try_into().unwrap();
        }
        let mut gradient = Vec::new();
        for tile in tiles {
            let written = both(&Gradient(tile), &[&log_tau, &row, &most, &sum], &[part(tile), &slope], 1e-5);
            let [tile, slopes] = written.try_into().unwrap();
            gradient.extend(tile);
            slope = slopes;
        }
        let sums: [&[f32]; 5] = [&row, &most, &sum, &own, &slope];
        let written = both(&Reduce { pairs, step: 1 }, &sums, &[&[0.0; 3], &[0.0]], 1e-5);
        let (loss, to_cosines, to_log_tau) = info_nce(&cosines, pairs, log_tau[0]);
        near(&written[0], &[0.0, loss as f32, 0.0], 1e-5, "loss");
        near(&written[1], &[to_log_tau as f32], 1e-5, "gradient to log tau");
        near(&gradient, &to_cosines, 1e-5, "gradient to the cosines");
    }
}
