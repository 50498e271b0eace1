//! Kernels of targets and of the terms beside a loss.

use super::*;

fn whole(rows: usize, columns: usize) -> Tile {
    Tile { rows, columns, begin: true }
}

/// Facts of rows whose items repeat.
fn facts(rows: usize, seed: u64) -> Vec<f32> {
    let draws = random(FACTS * rows, seed);
    let fact = |(at, value): (usize, &f32)| match at % FACTS {
        4 => 0.5 + 0.5 * value,
        _ => f32::from_bits((4.0 * (value + 1.0)) as u32),
    };
    draws.iter().enumerate().map(fact).collect()
}

#[test]
fn overlaps_are_the_common_shares_of_items() {
    for (rows, columns) in SIZES {
        let (of_rows, of_columns) = (facts(rows, 1), facts(columns, 2));
        let tile = both(&Overlaps(whole(rows, columns)), &[&of_rows, &of_columns], &[&vec![0.0; rows * columns]], 1e-6);
        // By the definition: over all items, the least of both shares.
        let shares = |facts: &[f32], side: usize| {
            let mut shares = [0.0; 8];
            shares[facts[side].to_bits() as usize] += facts[4];
            shares[facts[side + 1].to_bits() as usize] += 1.0 - facts[4];
            shares
        };
        let common = |row: &[f32], column: &[f32], side: usize| -> f32 {
            shares(row, side).iter().zip(shares(column, side)).map(|(a, b)| a.min(b)).sum()
        };
        let rows = of_rows.chunks(FACTS).flat_map(|row| {
            of_columns.chunks(FACTS).map(move |column| common(row, column, 0).max(common(row, column, 2)))
        });
        near(&tile[0], &rows.collect::<Vec<_>>(), 1e-6, "overlaps");
    }
}

#[test]
fn pairs_that_share_an_item_are_masked() {
    for (rows, columns) in SIZES {
        let (row, column) = (1.min(columns), 0);
        let pairs = (row + rows).max(column + columns);
        // Few items, so that they repeat.
        let number = |value: &f32| ((value + 1.0) * pairs as f32 / 2.0) as u32;
        let items: Vec<u32> = random(ITEMS * pairs, 7).iter().map(number).collect();
        let bits: Vec<f32> = items.iter().map(|item| f32::from_bits(*item)).collect();
        let cosines = random(rows * columns, 8);
        let mask = Mask { rows: (row, rows), columns: (column, columns), pairs };
        let tile = both(&mask, &[&bits], &[&cosines], 0.0).remove(0);
        let item = |of: usize, pair: usize| items[of * pairs + pair];
        let share = |i: usize, j: usize| {
            [0, 2].iter().any(|side| (0..2).any(|a| (0..2).any(|b| item(side + a, i) == item(side + b, j))))
        };
        for (at, (found, cosine)) in tile.iter().zip(&cosines).enumerate() {
            let (i, j) = (row + at / columns, column + at % columns);
            let expected = if i != j && share(i, j) { -1e30 } else { *cosine };
            assert_eq!(*found, expected, "{i}, {j}");
        }
    }
}

#[test]
fn targets_of_rows_and_of_columns_sum_to_one_each() {
    for (side, _) in SIZES {
        let of_rows = facts(side, 1);
        let zeros = vec![0.0; side * side];
        let tile = both(&Overlaps(whole(side, side)), &[&of_rows, &of_rows], &[&zeros], 1e-6).remove(0);
        let sums = both(&RowTotals(whole(side, side)), &[&tile], &[&vec![f32::NAN; side]], 1e-5).remove(0);
        let again = Tile { begin: false, ..whole(side, side) };
        let twice = both(&RowTotals(again), &[&tile], &[&sums], 1e-5).remove(0);
        near(&twice, &sums.iter().map(|sum| 2.0 * sum).collect::<Vec<_>>(), 1e-5, "sums");
        let spread = both(&Spread(whole(side, side)), &[&sums, &sums], &[&tile], 1e-5).remove(0);
        assert!((spread.iter().sum::<f32>() / (2 * side) as f32 - 1.0).abs() < 1e-4);
        let nothing = vec![0.0; side];
        let none = both(&Spread(whole(side, side)), &[&nothing, &nothing], &[&tile], 0.0).remove(0);
        assert!(none.iter().all(|target| *target == 0.0));

        let (log_tau, cosines) = ([-1.0], random(side * side, 3));
        let symmetric: Vec<f32> =
            (0..side * side).map(|at| cosines[at] + cosines[at % side * side + at / side]).collect();
        let none = vec![f32::NAN; side];
        let mut sums = both(&RowSums(whole(side, side)), &[&symmetric, &log_tau], &[&none, &none], 1e-5);
        let sums = both(&LogSums { count: side }, &[&sums.remove(1)], &[&sums.remove(0)], 1e-5).remove(0);
        let soften = Soften { tile: whole(side, side), diagonal: true, share: 0.3, whole: 2.0 };
        let soft = both(&soften, &[&log_tau, &sums, &sums], &[&symmetric], 1e-5).remove(0);
        assert!((soft.iter().sum::<f32>() / (2 * side) as f32 - 1.0).abs() < 1e-4);
        assert!(soft.iter().step_by(side + 1).all(|own| *own >= 1.4));
    }
}

#[test]
fn losses_to_targets_that_are_the_pairs_themselves_are_the_losses() {
    for (side, _) in SIZES {
        let (log_tau, cosines) = ([-2.0], random(side * side, 1));
        let (row, column) = (random(side, 2), random(side, 3));
        let [two, one] = [2.0, 1.0]
            .map(|own| (0..side * side).map(|at| if at % (side + 1) == 0 { own } else { 0.0 }).collect::<Vec<f32>>());
        let sums = vec![f32::NAN; side];
        let kernel = Gradient { tile: whole(side, side), pairs: side, diagonal: true };
        let expected = both(&kernel, &[&log_tau, &row, &column], &[&cosines, &sums], 1e-5);
        let kernel = TargetGradient { tile: whole(side, side), pairs: side };
        let found = both(&kernel, &[&log_tau, &row, &column, &two], &[&cosines, &sums, &sums], 1e-5);
        near(&found[0], &expected[0], 1e-5, "gradients");
        near(&found[1], &expected[1], 1e-4, "slopes");
        let own = both(&Diagonal { count: side }, &[&cosines, &log_tau], &[&sums], 1e-5).remove(0);
        near(&found[2], &own, 1e-5, "own logits");

        let kernel = SigmoidGradient { tile: whole(side, side), pairs: side, diagonal: true, bias: -1.5 };
        let expected = both(&kernel, &[&log_tau], &[&cosines, &sums, &sums], 1e-5);
        let found = both(&SigmoidTargetGradient(kernel), &[&log_tau, &one], &[&cosines, &sums, &sums], 1e-5);
        for (found, expected) in found.iter().zip(&expected) {
            near(found, expected, 1e-5, "sigmoid");
        }
    }
}

#[test]
fn rows_less_their_mean_sum_to_zero() {
    for (rows, width) in SIZES {
        let x = random(rows * width, 1);
        let sums =
            both(&ColumnSum { rows, width, accumulate: false, format: Format::F32 }, &[&x], &[&vec![0.0; width]], 1e-5)
                .remove(0);
        let kernel = Centred { rows, width, accumulate: false };
        let centred = both(&kernel, &[&x, &sums], &[&x], 1e-6).remove(0);
        for column in 0..width {
            assert!(centred.iter().skip(column).step_by(width).sum::<f32>().abs() < 1e-3);
        }
        let added = both(&Centred { accumulate: true, ..kernel }, &[&x, &sums], &[&centred], 1e-5).remove(0);
        near(&added, &centred.iter().map(|value| 2.0 * value).collect::<Vec<_>>(), 1e-5, "added");
    }
}

/// The sum of the divergences of rows, by the definition, in f64.
fn divergences(first: &[f32], second: &[f32], columns: usize, tau: f64) -> f64 {
    let softmax = |row: &[f32]| -> Vec<f64> {
        let all: Vec<f64> = row.iter().map(|&value| (f64::from(value) / tau).exp()).collect();
        let sum: f64 = all.iter().sum();
        all.into_iter().map(|value| value / sum).collect()
    };
    let of_row = |(p, q): (&[f32], &[f32])| -> f64 {
        let term = |(p, q): (f64, f64)| {
            let m = (p + q) / 2.0;
            0.5 * (p * (p / m).ln() + q * (q / m).ln())
        };
        softmax(p).into_iter().zip(softmax(q)).map(term).sum()
    };
    first.chunks(columns).zip(second.chunks(columns)).map(of_row).sum()
}

#[test]
fn a_divergence_is_the_definition_and_its_gradient_that_of_finite_differences() {
    for (rows, columns) in SIZES {
        let (first, second, log_tau) = (random(rows * columns, 1), random(rows * columns, 2), [-1.0]);
        let (tile, none) = (whole(rows, columns), vec![f32::NAN; rows]);
        let sums = |values: &[f32]| {
            let mut sums = both(&RowSums(tile), &[values, &log_tau], &[&none, &none], 1e-5);
            both(&LogSums { count: rows }, &[&sums.remove(1)], &[&sums.remove(0)], 1e-5).remove(0)
        };
        let (of_first, of_second) = (sums(&first), sums(&second));
        let reads: [&[f32]; 5] = [&first, &second, &log_tau, &of_first, &of_second];
        let found = both(&Divergence(tile), &reads, &[&none, &none], 1e-5);
        let tau = (-1f64).exp();
        let expected = divergences(&first, &second, columns, tau);
        let sum: f64 = found[1].iter().map(|&value| f64::from(value)).sum();
        assert!((sum - expected).abs() < 1e-5 * rows as f64, "{sum} and not {expected}");
        let added = both(&AddLoss { count: rows, step: 1, factor: 0.5 }, &[&found[1]], &[&[1.0, 2.0]], 1e-5).remove(0);
        near(&added, &[1.0, 2.0 + 0.5 * expected as f32], 1e-5, "loss");

        let kernel = DivergenceGradient { tile, factor: 2.0 };
        let reads: [&[f32]; 5] = [&first, &log_tau, &of_first, &of_second, &found[0]];
        let gradient = both(&kernel, &reads, &[&second], 1e-5).remove(0);
        let direction = random(rows * columns, 3);
        let at = |step: f32| {
            let moved: Vec<f32> = second.iter().zip(&direction).map(|(value, d)| value + step * d).collect();
            2.0 * divergences(&first, &moved, columns, tau)
        };
        let slope = (at(1e-3) - at(-1e-3)) / 2e-3;
        let expected: f64 = gradient.iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
        assert!((slope - expected).abs() < 1e-2 * slope.abs().max(0.1), "{slope} and not {expected}");
    }
}

#[test]
fn potentials_bring_a_plan_to_its_masses_and_equal_plans_have_no_divergence() {
    for (rows, columns) in SIZES {
        let (cosines, zeros) = (random(rows * columns, 1), vec![0.0; columns]);
        let of_rows = Potentials { rows, columns, of_columns: false, halfway: false, epsilon: 0.5 };
        let of_columns = Potentials { of_columns: true, ..of_rows };
        let (mut u, mut v) = (vec![f32::NAN; rows], zeros);
        for _ in 0..20 {
            u = both(&of_rows, &[&cosines, &v], &[&u], 1e-5).remove(0);
            v = both(&of_columns, &[&cosines, &u], &[&v], 1e-5).remove(0);
        }
        let mass = |i: usize, j: usize| (cosines[i * columns + j] / 0.5 + u[i] + v[j]).exp();
        for j in 0..columns {
            let sum: f32 = (0..rows).map(|i| mass(i, j)).sum();
            assert!((sum * columns as f32 - 1.0).abs() < 1e-4, "{sum}");
        }
        for i in 0..rows {
            let sum: f32 = (0..columns).map(|j| mass(i, j)).sum();
            assert!((sum * rows as f32 - 1.0).abs() < 1e-3, "{sum}");
        }
        let halfway = both(&Potentials { halfway: true, ..of_rows }, &[&cosines, &v], &[&vec![0.0; rows]], 1e-5);
        let next = both(&of_rows, &[&cosines, &v], &[&vec![0.0; rows]], 1e-5);
        near(&halfway[0], &next[0].iter().map(|value| 0.5 * value).collect::<Vec<_>>(), 1e-5, "halfway");

        let kernel = PlanGradient { rows, columns, epsilons: [0.5, 0.5], factor: 2.0 };
        let found = both(&kernel, &[&cosines, &u, &v, &u, &v], &[&cosines, &vec![f32::NAN; rows]], 1e-5);
        assert!(found.iter().flatten().all(|value| value.abs() < 1e-5));
        let other = random(rows * columns, 2);
        let found = both(&kernel, &[&other, &u, &v, &u, &v], &[&cosines, &vec![f32::NAN; rows]], 1e-5);
        let expected = |(at, &value): (usize, &f32)| {
            let (i, j) = (at / columns, at % columns);
            4.0 * (mass(i, j) - (value / 0.5 + u[i] + v[j]).exp())
        };
        near(&found[0], &other.iter().enumerate().map(expected).collect::<Vec<_>>(), 1e-5, "gradient");
    }
}

#[test]
fn a_gate_is_the_product_of_its_halves() {
    for (rows, width) in SIZES {
        let (x, bias, gradient) = (random(rows * 2 * width, 1), random(2 * width, 2), random(rows * width, 3));
        for dropout in [Dropout::NONE, Dropout::new(0.4, 9)] {
            let kernel = Glu { rows, width, first: 5, dropout, format: Format::F32 };
            let out = both(&kernel, &[&x, &bias], &[&gradient], 1e-5).remove(0);
            // The first halves alone, through the kernel without a gate.
            let halves = |first: usize| -> Vec<f32> {
                x.chunks(2 * width).flat_map(|row| row[first..first + width].to_vec()).collect()
            };
            let gelu = Gelu { rows, width, first: 5, dropout, format: Format::F32 };
            let gelu = both(&gelu, &[&halves(0), &bias[..width]], &[&gradient], 1e-5).remove(0);
            let gated = halves(width).into_iter().zip(bias[width..].iter().cycle()).zip(&gelu);
            near(&out, &gated.map(|((b, bias), a)| a * (b + bias)).collect::<Vec<_>>(), 1e-5, "glu");

            let writes: [&[f32]; 2] = [&x, &gradient];
            let backward = both(&GluBackward(kernel), &[&x, &bias, &gradient], &writes, 1e-5);
            near(&backward[1], &out, 1e-5, "the output again");
            let direction = random(rows * 2 * width, 4);
            let at = |step: f32| -> f64 {
                let moved: Vec<f32> = x.iter().zip(&direction).map(|(value, d)| value + step * d).collect();
                let out = launch(&Cpu::default(), &kernel, &[&moved, &bias], &[&gradient]).remove(0);
                out.iter().zip(&gradient).map(|(out, g)| f64::from(out * g)).sum()
            };
            let slope = (at(1e-2) - at(-1e-2)) / 2e-2;
            let expected: f64 = backward[0].iter().zip(&direction).map(|(g, d)| f64::from(g * d)).sum();
            assert!((slope - expected).abs() < 1e-2 * slope.abs().max(1.0), "{slope} and not {expected}");
        }
    }
}

#[test]
fn pairs_are_mixed_along_the_arc_between_them() {
    for (rows, width) in SIZES {
        let unit = |seed: u64| {
            let mut values = random(rows * width, seed);
            values.chunks_mut(width).for_each(crate::space::unit);
            values
        };
        let (x, y) = (unit(1), unit(2));
        let weights: Vec<f32> = random(rows, 3).iter().map(|value| 0.5 + 0.5 * value).collect();
        let kernel = Geodesic { rows, width };
        let nothing = vec![f32::NAN; rows * width];
        let mixed = both(&kernel, &[&x, &y, &weights], &[&nothing, &nothing[..rows]], 1e-5);
        let arc = |at: usize| {
            let of = at * width..(at + 1) * width;
            let cosine: f64 = x[of.clone()].iter().zip(&y[of]).map(|(x, y)| f64::from(x * y)).sum();
            (cosine.clamp(-0.999, 0.999).acos(), cosine)
        };
        for at in 0..rows {
            let ((angle, cosine), w) = (arc(at), f64::from(weights[at]));
            assert!((f64::from(mixed[1][at]) - cosine).abs() < 1e-5);
            for of in at * width..(at + 1) * width {
                let sides = [(w * angle).sin() * f64::from(x[of]), ((1.0 - w) * angle).sin() * f64::from(y[of])];
                let expected = (sides[0] + sides[1]) / angle.sin();
                assert!((f64::from(mixed[0][of]) - expected).abs() < 2e-4, "{angle}: {} {expected}", mixed[0][of]);
            }
        }
        let (to_mixed, to_own) = (random(rows * width, 4), random(rows, 5));
        let reads: [&[f32]; 6] = [&x, &y, &weights, &mixed[1], &to_mixed, &to_own];
        both(&GeodesicGradient(kernel), &reads, &[&random(rows * width, 6), &random(rows * width, 7)], 1e-3);
    }
}

#[test]
fn anchors_have_their_own_pairs_among_mixed_ones() {
    for (rows, columns) in SIZES {
        let (log_tau, cosines, row) = ([-1.0], random(rows * columns, 1), random(rows, 2));
        let some = random(rows, 3);
        for (begin, add) in [(true, false), (false, true)] {
            let tile = Tile { rows, columns, begin };
            let kernel = NegativesGradient { tile, factor: 0.1, diagonal: rows == columns, add };
            let found = both(&kernel, &[&log_tau, &row], &[&cosines, &some, &some, &some], 1e-5);
            if rows == columns {
                assert!(found[0].iter().step_by(rows + 1).all(|own| *own == 0.0));
            }
        }
    }
    for (side, _) in SIZES {
        let (own, cosines) = (random(side, 1), random(side * side, 2));
        let set = both(&SetOwn { count: side }, &[&own], &[&cosines], 0.0).remove(0);
        assert!(set.iter().step_by(side + 1).eq(&own));
    }
}
