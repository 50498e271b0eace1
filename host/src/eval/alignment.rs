//! How alike two encoders see the same items, before anything is fitted: by neighbourhoods, and by products.

use rayon::prelude::*;
use serde::Serialize;

use super::Interval;
use crate::space::{product, unit};

/// The likeness of two sets of latents, row i of one belonging to row i of the other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Alignment {
    /// Mutual nearest neighbours (Huh et al., ICML 2024): the share of an item's nearest ones by one encoder that are
    /// its nearest by the other too, in percent, with an interval over the items.
    pub neighbours: Interval,
    /// The same of unrelated items.
    pub chance: f64,
    /// Linear CKA (Kornblith et al., ICML 2019) without its bias (Song et al., JMLR 2012): 1 of the same up to a
    /// rotation, near 0 of unrelated ones, and for these also below it.
    pub cka: f64,
}

/// Nearest items that are compared.
pub const NEAREST: usize = 10;
/// Rows of products that are in memory at once.
const ROWS: usize = 512;

impl Alignment {
    /// That of `items` rows of latents on each side; at least four.
    pub fn of(sides: [&[f32]; 2], items: usize) -> Self {
        let widths = sides.map(|latents| latents.len() / items);
        let mut sides = sides.map(<[f32]>::to_vec);
        for (latents, width) in sides.iter_mut().zip(widths) {
            centre(latents, width);
        }
        // Before they are of length 1: the products that CKA compares are of latents as they are.
        let cka = cka([&sides[0], &sides[1]], widths, items);
        for (latents, width) in sides.iter_mut().zip(widths) {
            latents.par_chunks_exact_mut(width).for_each(unit);
        }
        let nearest = NEAREST.min(items - 1);
        let [first, second] = [0, 1].map(|side| neighbours(&sides[side], widths[side], nearest));
        let shares: Vec<f64> = first
            .iter()
            .zip(&second)
            .map(|(one, other)| one.iter().filter(|item| other.contains(item)).count() as f64 / nearest as f64)
            .collect();
        let mean = shares.iter().sum::<f64>() / items as f64;
        let square = shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (items - 1) as f64;
        let half = 1.96 * (square / items as f64).sqrt();
        let percent = |share: f64| 100.0 * share.clamp(0.0, 1.0);
        let neighbours = Interval { mean: percent(mean), low: percent(mean - half), high: percent(mean + half) };
        Self { neighbours, chance: percent(nearest as f64 / (items - 1) as f64), cka }
    }
}

/// Takes the mean of all rows from each.
fn centre(latents: &mut [f32], width: usize) {
    let rows = (latents.len() / width) as f64;
    let mut mean = vec![0.0_f64; width];
    latents
        .chunks_exact(width)
        .for_each(|row| mean.iter_mut().zip(row).for_each(|(sum, value)| *sum += f64::from(*value)));
    latents.par_chunks_exact_mut(width).for_each(|row| {
        row.iter_mut().zip(&mean).for_each(|(value, sum)| *value = (f64::from(*value) - sum / rows) as f32);
    });
}

/// The `nearest` other rows of each row, by their products.
fn neighbours(latents: &[f32], width: usize, nearest: usize) -> Vec<Vec<usize>> {
    let items = latents.len() / width;
    let mut all = Vec::with_capacity(items);
    for (block, rows) in latents.chunks(ROWS * width).enumerate() {
        let scores = product(rows, latents, width);
        all.par_extend(scores.par_chunks_exact(items).enumerate().map(|(at, scores)| {
            let own = block * ROWS + at;
            let mut order: Vec<usize> = (0..items).filter(|item| *item != own).collect();
            let by = |a: &usize, b: &usize| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b));
            if nearest < order.len() {
                order.select_nth_unstable_by(nearest, by);
                order.truncate(nearest);
            }
            order
        }));
    }
    all
}

/// Unbiased HSIC of either side's products with the other's and with its own, row by row: for kernels K and L without
/// their diagonal, `tr KL + (sum K)(sum L) / ((n-1)(n-2)) - 2 (1' K L 1) / (n-2)`, without a factor that cancels.
fn cka(sides: [&[f32]; 2], widths: [usize; 2], items: usize) -> f64 {
    let blocks = items.div_ceil(ROWS);
    // Sums of products of the two kernels and of each with itself, and the sums of each one's rows.
    let mut products = [0.0_f64; 3];
    let mut sums = [vec![0.0_f64; items], vec![0.0_f64; items]];
    for block in 0..blocks {
        let rows = block * ROWS..items.min((block + 1) * ROWS);
        let kernels = [0, 1].map(|side| {
            let (latents, width) = (sides[side], widths[side]);
            let mut kernel = product(&latents[rows.start * width..rows.end * width], latents, width);
            kernel.chunks_exact_mut(items).zip(rows.clone()).for_each(|(row, own)| row[own] = 0.0);
            kernel
        });
        let of = |(x, y): (&[f32], &[f32])| {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
            let sum = |row: &[f32]| row.iter().map(|value| f64::from(*value)).sum::<f64>();
            ([dot(x, y), dot(x, x), dot(y, y)], [sum(x), sum(y)])
        };
        let [first, second] = &kernels;
        let found: Vec<_> = first.par_chunks_exact(items).zip(second.par_chunks_exact(items)).map(of).collect();
        for (row, (of, sum)) in rows.zip(found) {
            products.iter_mut().zip(of).for_each(|(all, one)| *all += one);
            sums.iter_mut().zip(sum).for_each(|(sums, sum)| sums[row] = sum);
        }
    }
    let n = items as f64;
    let hsic = |product: f64, x: &[f64], y: &[f64]| {
        let whole = x.iter().sum::<f64>() * y.iter().sum::<f64>() / ((n - 1.0) * (n - 2.0));
        product + whole - 2.0 * x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / (n - 2.0)
    };
    let [x, y] = &sums;
    let [both, first, second] = [hsic(products[0], x, y), hsic(products[1], x, x), hsic(products[2], y, y)];
    if first > 0.0 && second > 0.0 { both / (first * second).sqrt() } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn random(values: usize, seed: u64) -> Vec<f32> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        (0..values).map(|_| random.random_range(-1.0..1.0)).collect()
    }

    /// More than one block, of a size that no block divides.
    const ITEMS: usize = 601;

    #[test]
    fn the_same_up_to_a_rotation_is_alike_and_the_unrelated_is_not() {
        let latents = random(ITEMS * 3, 1);
        // A rotation by axes, a scale and an offset.
        let turned: Vec<f32> =
            latents.chunks_exact(3).flat_map(|row| [2.0 * row[1] + 5.0, -2.0 * row[2], 2.0 * row[0] - 1.0]).collect();
        let alike = Alignment::of([&latents, &turned], ITEMS);
        assert!((alike.cka - 1.0).abs() < 1e-4 && alike.neighbours.mean > 99.0, "{alike:?}");
        let unrelated = Alignment::of([&latents, &random(ITEMS * 40, 2)], ITEMS);
        // Wide latents of few items are alike in the biased form.
        assert!(unrelated.cka.abs() < 0.02, "{unrelated:?}");
        assert!((unrelated.chance - 100.0 * 10.0 / 600.0).abs() < 1e-9);
        assert!((unrelated.neighbours.mean - unrelated.chance).abs() < 1.0, "{unrelated:?}");
    }

    #[test]
    fn cka_is_what_its_definition_says() {
        let (items, x, y) = (5, random(10, 3), random(15, 4));
        let kernel = |latents: &[f32], width: usize| {
            let mut latents = latents.to_vec();
            centre(&mut latents, width);
            let dot = |i: usize, j: usize| {
                let row = |at: usize| &latents[at * width..(at + 1) * width];
                let sum: f32 = row(i).iter().zip(row(j)).map(|(a, b)| a * b).sum();
                if i == j { 0.0 } else { f64::from(sum) }
            };
            (0..items).map(|i| (0..items).map(|j| dot(i, j)).collect::<Vec<_>>()).collect::<Vec<_>>()
        };
        let hsic = |k: &[Vec<f64>], l: &[Vec<f64>]| {
            let n = items as f64;
            let sum = |m: &[Vec<f64>]| m.iter().flatten().sum::<f64>();
            let (mut trace, mut cross) = (0.0, 0.0);
            for i in 0..items {
                for j in 0..items {
                    trace += k[i][j] * l[j][i];
                    (0..items).for_each(|m| cross += k[i][j] * l[j][m]);
                }
            }
            trace + sum(k) * sum(l) / ((n - 1.0) * (n - 2.0)) - 2.0 * cross / (n - 2.0)
        };
        let (k, l) = (kernel(&x, 2), kernel(&y, 3));
        let expected = hsic(&k, &l) / (hsic(&k, &k) * hsic(&l, &l)).sqrt();
        let found = Alignment::of([&x, &y], items).cka;
        assert!((found - expected).abs() < 1e-4, "{found} {expected}");
    }
}
