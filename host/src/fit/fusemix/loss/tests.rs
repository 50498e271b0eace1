//! The loss over tiles against its definition.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::device::Cpu;
use crate::fit::fusemix::train::tests::random;
use crate::nn::{AdapterKind, Fresh, Shape};
use crate::space::{Tower, TowerSpec};

/// The loss and its gradients to `x`, `y` (`pairs x width`) and log tau, by the definition, in f64.
fn dense(x: &[f32], y: &[f32], width: usize, (log_tau, bias): (f32, Option<f32>)) -> (f64, [Vec<f64>; 2], f64) {
    let (pairs, tau) = (x.len() / width, f64::from(log_tau).exp());
    let rows = |values: &[f32]| -> Vec<Vec<f64>> {
        values.chunks(width).map(|row| row.iter().map(|&value| f64::from(value)).collect()).collect()
    };
    let (x, y) = (rows(x), rows(y));
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let logits: Vec<Vec<f64>> = x.iter().map(|x| y.iter().map(|y| dot(x, y) / tau).collect()).collect();
    let log_sum = |values: &mut dyn Iterator<Item = f64>| values.map(f64::exp).sum::<f64>().ln();
    let row: Vec<f64> = logits.iter().map(|row| log_sum(&mut row.iter().copied())).collect();
    let column: Vec<f64> = (0..pairs).map(|j| log_sum(&mut logits.iter().map(|row| row[j]))).collect();
    let share = 1.0 / (2.0 * pairs as f64);
    let mut loss = (0..pairs).map(|i| row[i] + column[i] - 2.0 * logits[i][i]).sum::<f64>() * share;
    let all = || (0..pairs).flat_map(|i| (0..pairs).map(move |j| (i, j)));
    let v = |i: usize, j: usize, bias: f32| (logits[i][j] + f64::from(bias)) * if i == j { -1.0 } else { 1.0 };
    if let Some(bias) = bias {
        loss = all().map(|(i, j)| v(i, j, bias).exp().ln_1p()).sum::<f64>() / (pairs * pairs) as f64;
    }
    let (mut to_x, mut to_y, mut to_log_tau) = (vec![0.0; pairs * width], vec![0.0; pairs * width], 0.0);
    for (i, j) in all() {
        let own = if i == j { 2.0 } else { 0.0 };
        let mut g = share * ((logits[i][j] - row[i]).exp() + (logits[i][j] - column[j]).exp() - own);
        if let Some(bias) = bias {
            let sign = if i == j { -1.0 } else { 1.0 };
            g = sign / (1.0 + (-v(i, j, bias)).exp()) / (pairs * pairs) as f64;
        }
        to_log_tau -= g * logits[i][j];
        for at in 0..width {
            to_x[i * width + at] += g / tau * y[j][at];
            to_y[j * width + at] += g / tau * x[i][at];
        }
    }
    (loss, [to_x, to_y], to_log_tau)
}

#[test]
fn the_streaming_loss_is_the_dense_one_in_any_tiles() {
    let width = 24;
    let unit = |pairs: usize, seed| {
        let rows = random(pairs * width, seed);
        let length = |row: &[f32]| row.iter().map(|x| x * x).sum::<f32>().sqrt();
        rows.chunks(width).flat_map(|row| row.iter().map(|x| x / length(row)).collect::<Vec<_>>()).collect::<Vec<f32>>()
    };
    for (pairs, log_tau, bias) in
        [(257, -2.66, None), (1000, -4.0, None), (257, -2.66, Some(-5.5)), (300, -1.0, Some(2.0))]
    {
        let (x, y) = (unit(pairs, 1), unit(pairs, 2));
        let (loss, to_sides, to_log_tau) = dense(&x, &y, width, (log_tau, bias));
        let device = Cpu::default();
        let device: &dyn Device = &device;
        let spec = TowerSpec { name: String::new(), width, adapter: AdapterKind::Identity, blocks: None };
        let kind = AdapterKind::Identity;
        let shape = Shape { kind, width, inner: 0, blocks: 0, shared: width, bias: true };
        let tower = Tower::new(device, &mut Fresh(ChaCha8Rng::seed_from_u64(0)), spec, shape);
        for (side, kept) in [(pairs, 1), (64, 1), (64, 3), (128, 1), (192, 100), (512, 1)] {
            let sides = [&x, &y].map(|values| {
                let pass = Pass::new(device, &tower, ([pairs, pairs], 1), Format::F32);
                device.write(pass.embeddings(0, pairs * width), values);
                pass
            });
            let (tau, slope, losses) = (device.upload(&[log_tau]), device.zeros(1), device.zeros(1));
            let of_pairs = PairLoss::new(device, (pairs, width), (side, kept), (bias, Format::F32));
            let passes = [&sides[0], &sides[1]];
            let precision = Precision::F32;
            of_pairs.launch(
                device,
                (pairs, precision),
                (Sides { passes, masked: None }, None),
                (tau.all(), slope.all()),
                ((losses.all(), 0), &|| true),
            );
            let found = f64::from(device.read(losses.all()).unwrap()[0]);
            assert!((found / loss - 1.0).abs() < 1e-5, "{pairs} in tiles of {side}: {found} and not {loss}");
            let found = f64::from(device.read(slope.all()).unwrap()[0]);
            assert!((found - to_log_tau).abs() < 1e-4, "{pairs} in tiles of {side}: {found} and not {to_log_tau}");
            for (pass, expected) in sides.iter().zip(&to_sides) {
                let most = expected.iter().fold(0.0, |most: f64, value| most.max(value.abs()));
                for (found, expected) in device.read(pass.gradient(0, pairs * width)).unwrap().iter().zip(expected) {
                    assert!((f64::from(*found) - expected).abs() < 1e-4 * most, "{found} and not {expected}");
                }
            }
        }
    }
}
