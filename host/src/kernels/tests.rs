//! Each kernel on wgpu against its twin, in sizes that do not fit workgroups; the twins against the definition.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::*;
use crate::device::{Buffer, Cpu, Device, Slice, tests::wgpu};

mod halves;
mod shaders;
mod terms;

/// Odd sizes: less than a lane, just off a workgroup, more than one.
const SIZES: [(usize, usize); 4] = [(1, 1), (63, 65), (65, 257), (257, 63)];

pub(super) fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// The values that a launch writes, on `device`.
pub(super) fn launch(device: &dyn Device, kernel: &dyn Kernel, reads: &[&[f32]], writes: &[&[f32]]) -> Vec<Vec<f32>> {
    let upload = |values: &[&[f32]]| values.iter().map(|values| device.upload(values)).collect::<Vec<Buffer>>();
    let (reads, writes) = (upload(reads), upload(writes));
    fn all(buffers: &[Buffer]) -> Vec<Slice<'_>> {
        buffers.iter().map(Buffer::all).collect()
    }
    device.launch(kernel, &all(&reads), &all(&writes));
    writes.iter().map(|write| device.read(write.all()).unwrap()).collect()
}

/// Runs the twin, checks wgpu against it, and returns the twin's output.
pub(super) fn both(kernel: &dyn Kernel, reads: &[&[f32]], writes: &[&[f32]], tolerance: f32) -> Vec<Vec<f32>> {
    let twin = launch(&Cpu::default(), kernel, reads, writes);
    let Some(device) = wgpu() else { return twin };
    let shader = launch(device, kernel, reads, writes);
    for (write, (twin, shader)) in twin.iter().zip(&shader).enumerate() {
        near(
            shader,
            twin,
            tolerance,
            &format!("{} {:?}, write {write}", kernel.name(), kernel.shader(&Gpu::default()).params),
        );
    }
    twin
}

pub(super) fn near(values: &[f32], expected: &[f32], tolerance: f32, what: &str) {
    assert_eq!(values.len(), expected.len(), "{what}");
    for (at, (value, expected)) in values.iter().zip(expected).enumerate() {
        let apart = (value - expected).abs() / expected.abs().max(1.0);
        assert!(apart <= tolerance, "{what}, value {at}: {value} and not {expected}");
    }
}

#[test]
fn elementwise() {
    for (rows, width) in SIZES {
        let count = rows * width;
        let (x, y, bias) = (random(count, 1), random(count, 2), random(width, 3));
        let wide: Vec<f32> = x.iter().map(|x| 6.0 * x).collect();
        for dropout in [Dropout::NONE, Dropout::new(0.6, 17)] {
            let forward =
                both(&Gelu { rows, width, first: 5, dropout, format: Format::F32 }, &[&wide, &bias], &[&y], 1e-6);
            let backward = GeluBackward { rows, width, first: 5, dropout, format: Format::F32 };
            let written = both(&backward, &[&wide, &bias], &[&x, &y], 1e-5);
            assert_eq!(forward[0], written[1], "the same again");
        }
        both(&AddBias { rows, width }, &[&bias], &[&y], 0.0);
        for accumulate in [false, true] {
            let sum =
                both(&ColumnSum { rows, width, accumulate, format: Format::F32 }, &[&x], &[&bias], 1e-5).remove(0);
            let expected = |column: usize| {
                let before = if accumulate { f64::from(bias[column]) } else { 0.0 };
                (before + x.iter().skip(column).step_by(width).map(|&x| f64::from(x)).sum::<f64>()) as f32
            };
            near(&sum, &(0..width).map(expected).collect::<Vec<_>>(), 1e-5, "column sums");
        }
        let moments: Vec<f32> = x.iter().map(|x| x * x).collect();
        let step =
            AdamW { count, lr: 0.01, betas: [0.9, 0.99], epsilon: 1e-7, decay: 0.1, step: 3, range: [-0.5, 0.5] };
        both(&step, &[&x, &[0.7]], &[&y, &wide, &moments], 1e-5);
        let average = both(&Ema { count, decay: 0.75 }, &[&x], &[&y], 1e-6).remove(0);
        near(&average, &x.iter().zip(&y).map(|(x, y)| 0.75 * y + 0.25 * x).collect::<Vec<_>>(), 1e-6, "average");
        let parts = both(&SquareSums { count }, &[&x], &[&[0.0; SquareSums::PARTS]], 1e-5).remove(0);
        let length = x.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt() as f32;
        for longest in [0.5 * length, 2.0 * length] {
            let clip = ClipFactor { count: SquareSums::PARTS, longest };
            let factor = both(&clip, &[&parts], &[&[0.0]], 1e-5).remove(0)[0];
            assert!((factor - (longest / length).min(1.0)).abs() < 1e-5, "{factor}");
        }
    }
}

#[test]
fn mix_gathers_from_all_chunks() {
    for (rows, width) in SIZES {
        let (latents, lambdas) = (random(3 * rows * width, 1), random(rows, 2));
        let index = |at: usize| (at * 7919 + 3) % (3 * rows);
        let pairs: Vec<f32> = (0..2 * rows).map(|at| f32::from_bits(index(at) as u32)).collect();
        let expected: Vec<f32> = (0..rows * width)
            .map(|at| {
                let (row, column) = (at / width, at % width);
                let value = |row: usize| latents[row * width + column];
                mixed(lambdas[row], value(index(row)), value(index(rows + row)))
            })
            .collect();
        for chunk in [3 * rows, rows, 1 + rows / 2] {
            let mut out = vec![f32::NAN; rows * width];
            for first in (0..3 * rows).step_by(chunk) {
                let count = chunk.min(3 * rows - first);
                let kernel = Mix { rows, width, first, count };
                let part = &latents[first * width..(first + count) * width];
                out = both(&kernel, &[part, &pairs, &lambdas], &[&out], 1e-6).remove(0);
            }
            near(&out, &expected, 1e-6, "mixed");
        }
    }
}

#[test]
fn rows() {
    for (rows, width) in SIZES {
        let (x, gain, shift) = (random(rows * width, 1), random(width, 2), random(width, 3));
        let (gradient, moments, inverse) = (random(rows * width, 4), vec![0.0; 2 * rows], vec![0.0; rows]);
        let written =
            both(&LayerNorm { rows, width, format: Format::F32 }, &[&x, &gain, &shift], &[&gradient, &moments], 1e-4);
        let [_, moments] = &written[..] else { panic!("two writes") };
        let standardized =
            both(&Standardize { rows, width, format: Format::F32 }, &[&x, moments], &[&gradient], 1e-4).remove(0);
        let expected = x.iter().enumerate().map(|(at, x)| {
            let (mean, inverse) = (moments[2 * (at / width)], moments[2 * (at / width) + 1]);
            (x - mean) * inverse
        });
        near(&standardized, &expected.collect::<Vec<_>>(), 1e-5, "standardized");
        let residual = random(rows * width, 5);
        let sum = gradient.iter().zip(&residual).enumerate().map(|(at, (y, r))| y + (gain[at % width] + r));
        let (sum, format) = (sum.collect::<Vec<f32>>(), Format::F32);
        let kernel = AddNorm { rows, width, format };
        let added = both(&kernel, &[&gain, &residual, &gain, &shift], &[&gradient, &x, moments], 1e-4);
        assert_eq!(added[0], sum, "bias and residual");
        let norm = LayerNorm { rows, width, format };
        let after = launch(&Cpu::default(), &norm, &[&sum, &gain, &shift], &[&x, moments]);
        assert_eq!(added[1..], after[..], "the LayerNorm of the sum");
        for accumulate in [false, true] {
            let kernel = LayerNormBackward { rows, width, accumulate, halved: false };
            both(&kernel, &[&x, &gain, moments, &gradient], &[&x], 1e-3);
        }
        for accumulate in [false, true] {
            both(&LayerNormGains { rows, width, accumulate }, &[&x, moments, &gradient], &[&gain, &shift], 1e-3);
        }
        let written = both(&Normalize { rows, width }, &[&x], &[&gradient, &inverse], 1e-5);
        both(&NormalizeBackward { rows, width }, &[&written[0], &written[1], &[2.0]], &[&gradient], 1e-4);
    }
}

/// A kernel as a GPU with large workgroups runs it.
struct Large<'a>(&'a dyn Kernel);

impl Kernel for Large<'_> {
    fn name(&self) -> &'static str {
        self.0.name()
    }

    fn shader(&self, _: &Gpu) -> Shader {
        self.0.shader(&Gpu { threads: 1024, ..Gpu::default() })
    }

    fn twin(&self, reads: &[&[f32]], writes: &mut [&mut [f32]]) {
        self.0.twin(reads, writes);
    }
}

#[test]
fn columns_by_more_threads_are_the_same() {
    for (rows, width) in SIZES {
        let (x, y) = (random(rows * width, 1), random(rows * width, 2));
        let (gain, shift, moments) = (random(width, 3), random(width, 4), random(2 * rows, 5));
        let accumulate = true;
        both(&Large(&ColumnSum { rows, width, accumulate, format: Format::F32 }), &[&x], &[&gain], 1e-5);
        both(&Large(&LayerNormGains { rows, width, accumulate }), &[&x, &moments, &y], &[&gain, &shift], 1e-3);
        both(&Large(&Unfold { rows, width }), &[&x, &gain, &shift, &moments[..rows]], &[&y, &shift, &gain], 1e-4);
        let tile = Tile { rows, columns: width, begin: false };
        let sums: Vec<f32> = gain.iter().map(|x| x.abs()).collect();
        both(&Large(&ColumnSums(tile)), &[&x, &[-1.0]], &[&shift, &sums], 1e-5);
    }
}

#[test]
fn unfold_is_its_definition() {
    for (rows, width) in SIZES {
        let (weight, s, to_bias) = (random(rows * width, 1), random(rows * width, 2), random(rows, 3));
        let (gain, shift) = (random(width, 4), random(width, 5));
        let reads: [&[f32]; 4] = [&weight, &gain, &shift, &to_bias];
        let written = both(&Unfold { rows, width }, &reads, &[&s, &shift, &gain], 1e-4);
        let sum = |term: &dyn Fn(usize, usize) -> f64| -> Vec<f32> {
            (0..width).map(|column| (0..rows).map(|row| term(row, row * width + column)).sum::<f64>() as f32).collect()
        };
        near(&written[1], &sum(&|_, at| f64::from(s[at]) * f64::from(weight[at])), 1e-4, "to gain");
        near(&written[2], &sum(&|row, at| f64::from(to_bias[row]) * f64::from(weight[at])), 1e-4, "to shift");
        let to_weight = (0..rows * width).map(|at| s[at] * gain[at % width] + to_bias[at / width] * shift[at % width]);
        near(&written[0], &to_weight.collect::<Vec<_>>(), 1e-5, "to weight");
    }
}

#[test]
fn gelu_is_the_exact_one() {
    // x Phi(x) with libm's erf, from PyTorch.
    let known = [(-3.0, -0.004_049_69), (-1.0, -0.158_655_26), (0.0, 0.0), (0.5, 0.345_731_23), (2.0, 1.954_499_7)];
    let x = known.map(|(x, _)| x);
    let written = launch(
        &Cpu::default(),
        &Gelu { rows: 1, width: 5, first: 0, dropout: Dropout::NONE, format: Format::F32 },
        &[&x, &[0.0; 5]],
        &[&[0.0; 5]],
    )
    .remove(0);
    near(&written, &known.map(|(_, y)| y), 1e-6, "gelu");
}

#[test]
fn dropout_leaves_out_its_share_and_keeps_the_mean() {
    let (rows, width) = (100, 1000);
    let (ones, bias) = (vec![10.0; rows * width], vec![0.0; width]);
    let mask = |key, first| {
        let kernel = Gelu { rows, width, first, dropout: Dropout::new(0.6, key), format: Format::F32 };
        launch(&Cpu::default(), &kernel, &[&ones, &bias], &[&ones]).remove(0)
    };
    let masked = mask(1, 0);
    let kept = masked.iter().filter(|&&value| value != 0.0).count();
    assert!((39_500..40_500).contains(&kept), "{kept}");
    assert!(masked.iter().all(|&value| value == 0.0 || (value - 25.0).abs() < 1e-4));
    let same = |a: &[f32], b: &[f32]| a.iter().zip(b).filter(|(a, b)| (**a == 0.0) == (**b == 0.0)).count();
    // Another key, another row, another column: all agree as often as chance has it.
    assert!((51_500..52_500).contains(&same(&masked, &mask(2, 0))));
    assert!((51_000..52_500).contains(&same(&masked[width..], &masked[..(rows - 1) * width])));
    assert!((51_500..52_500).contains(&same(&masked[1..], &masked[..rows * width - 1])));
    // The masks of other micro-batches are parts of this one.
    assert_eq!(masked[64 * width..], mask(1, 64)[..(rows - 64) * width]);
}

#[test]
fn the_sigmoid_loss_is_the_same_on_both_devices() {
    for (rows, columns, diagonal) in [(1, 1, true), (63, 63, true), (65, 16, false), (257, 100, false)] {
        let (cosines, log_tau) = (random(rows * columns, 1), [-2.0]);
        for (begin, bias) in [(true, -10.0), (false, 3.0)] {
            let tile = Tile { rows, columns, begin };
            let kernel = SigmoidGradient { tile, pairs: 300, diagonal, bias };
            let (slope, loss) = (random(rows, 2), random(rows, 3));
            both(&kernel, &[&log_tau], &[&cosines, &slope, &loss], 1e-6);
            both(&SigmoidReduce { pairs: rows, step: 1 }, &[&loss, &slope], &[&[0.0; 3], &[0.0]], 1e-5);
        }
    }
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
fn the_largest_of_a_row_is_found_at_any_width() {
    for columns in 1..100 {
        let (rows, state) = (16, vec![f32::NAN; 16]);
        let cosines = random(rows * columns, columns as u64);
        let kernel = RowSums(Tile { rows, columns, begin: true });
        let written = launch(&Cpu::default(), &kernel, &[&cosines, &[0.0]], &[&state, &state]);
        let largest = |row: &[f32]| row.iter().copied().max_by(f32::total_cmp).unwrap();
        let expected: Vec<f32> = cosines.chunks(columns).map(largest).collect();
        assert_eq!(written[0], expected, "{columns} columns");
    }
}

#[test]
fn info_nce_in_tiles_is_the_definition() {
    for (pairs, side) in [(1, 1), (63, 63), (65, 16), (257, 100)] {
        let (cosines, log_tau) = (random(pairs * pairs, 1), [-2.0]);
        let firsts = || (0..pairs).step_by(side).map(|first| (first, side.min(pairs - first)));
        let parts = || firsts().flat_map(|row| firsts().map(move |column| (row, column)));
        let part = |(row, rows): (usize, usize), (column, columns): (usize, usize)| -> Vec<f32> {
            (row..row + rows).flat_map(|i| cosines[i * pairs + column..][..columns].to_vec()).collect()
        };
        let zeros = vec![f32::NAN; pairs];
        let [mut row_most, mut row_sum, mut column_most, mut column_sum, mut own, mut slope] =
            [(); 6].map(|()| zeros.clone());
        let update = |kernel: &dyn Kernel, tile: &[f32], (first, count): (usize, usize), sums: [&mut Vec<f32>; 2]| {
            let parts = sums.each_ref().map(|sum| sum[first..first + count].to_vec());
            let written = both(kernel, &[tile, &log_tau], &[&parts[0], &parts[1]], 1e-5);
            for (sum, written) in sums.into_iter().zip(written) {
                sum[first..first + count].copy_from_slice(&written);
            }
        };
        for (row, column) in parts() {
            let (tile, whole) = (part(row, column), Tile { rows: row.1, columns: column.1, begin: column.0 == 0 });
            update(&RowSums(whole), &tile, row, [&mut row_most, &mut row_sum]);
            let down = Tile { begin: row.0 == 0, ..whole };
            update(&ColumnSums(down), &tile, column, [&mut column_most, &mut column_sum]);
            if row.0 == column.0 {
                let written = both(&Diagonal { count: row.1 }, &[&tile, &log_tau], &[&own[row.0..row.0 + row.1]], 1e-5);
                own[row.0..row.0 + row.1].copy_from_slice(&written[0]);
            }
        }
        let row_log = both(&LogSums { count: pairs }, &[&row_sum], &[&row_most], 1e-5).remove(0);
        let column_log = both(&LogSums { count: pairs }, &[&column_sum], &[&column_most], 1e-5).remove(0);
        let (loss, to_cosines, to_log_tau) = info_nce(&cosines, pairs, log_tau[0]);
        for (row, column) in parts() {
            let tile = Tile { rows: row.1, columns: column.1, begin: column.0 == 0 };
            let kernel = Gradient { tile, pairs, diagonal: row.0 == column.0 };
            let (rows, columns) = (row.0..row.0 + row.1, column.0..column.0 + column.1);
            let reads: [&[f32]; 3] = [&log_tau, &row_log[rows.clone()], &column_log[columns]];
            let written = both(&kernel, &reads, &[&part(row, column), &slope[rows.clone()]], 1e-5);
            slope[rows.clone()].copy_from_slice(&written[1]);
            let expected: Vec<f32> =
                rows.flat_map(|i| to_cosines[i * pairs + column.0..][..column.1].to_vec()).collect();
            near(&written[0], &expected, 1e-5, "gradient to the cosines");
        }
        let sums: [&[f32]; 4] = [&row_log, &column_log, &own, &slope];
        let written = both(&Reduce { pairs, step: 1 }, &sums, &[&[0.0; 3], &[0.0]], 1e-5);
        near(&written[0], &[0.0, loss as f32, 0.0], 1e-5, "loss");
        near(&written[1], &[to_log_tau as f32], 1e-5, "gradient to log tau");
    }
}
