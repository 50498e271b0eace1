//! The most different of some latents: the greedy choice of a k-DPP, which takes the item that most enlarges the
//! determinant of the kernel of those taken (Chen et al., NeurIPS 2018, algorithm 1).

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

use crate::latents::Latents;
use crate::space::unit;
use crate::stop::GoOn;

/// Items among which the choice is that of the whole; of more, it is made in so large groups at random.
const EXACT: usize = 20_000;
/// Rows that the width of the kernel is measured on.
const MEASURED: usize = 256;
/// The least gain that is more than rounding: what is left then is as good as there already.
const LEAST: f64 = 1e-5;

/// The rows of the `count` most different latents, sorted; none if it was not to go on. The kernel of two latents is
/// `exp(-(1 - cos) / s)`, where `s` is the median of `1 - cos`. In groups of at most 20,000, an item takes `4 k` bytes.
pub(crate) fn most_different(latents: &dyn Latents, count: usize, seed: u64, go_on: GoOn<'_>) -> Option<Vec<usize>> {
    let all = latents.len();
    if count >= all {
        return Some((0..all).collect());
    }
    let mut rows: Vec<usize> = (0..all).collect();
    let groups = all.div_ceil(EXACT);
    if groups > 1 {
        rows.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
    }
    let mut taken = Vec::with_capacity(count);
    for group in 0..groups {
        let share = |of: usize| (group * of / groups, (group + 1) * of / groups);
        let ((first, end), (done, then)) = (share(all), share(count));
        let rows = &rows[first..end];
        let unit = units(latents, rows);
        let found = greedy(&unit, latents.width(), then - done, &|at, _| go_on(done + at, count))?;
        taken.extend(found.into_iter().map(|at| rows[at]));
    }
    taken.sort_unstable();
    Some(taken)
}

/// Bytes that the choice takes beside the latents.
pub(crate) fn bytes(rows: usize, count: usize) -> u64 {
    let groups = rows.div_ceil(EXACT).max(1) as u64;
    4 * (rows as u64).div_ceil(groups) * (count as u64).div_ceil(groups)
}

/// These rows, of length 1.
fn units(latents: &dyn Latents, rows: &[usize]) -> Vec<f32> {
    let width = latents.width();
    let mut values = vec![0.0; rows.len() * width];
    values.par_chunks_exact_mut(width).zip(rows).for_each(|(out, row)| {
        latents.copy_row(*row, out);
        unit(out);
    });
    values
}

/// Indices of `count` rows of length 1, in the order in which they are taken.
fn greedy(rows: &[f32], width: usize, count: usize, go_on: GoOn<'_>) -> Option<Vec<usize>> {
    let (all, kernel) = (rows.len() / width, Kernel::of(rows, width));
    // Of each row: what it adds to the determinant, squared as in the paper, and its row of the Cholesky factor.
    let mut gains = vec![1.0_f64; all];
    let mut factor = vec![0.0_f32; all * count];
    let mut taken = Vec::with_capacity(count);
    let mut is_taken = vec![false; all];
    while taken.len() < count {
        if !go_on(taken.len(), count) {
            return None;
        }
        let free = (0..all).filter(|row| !is_taken[*row]);
        let best = free.max_by(|a, b| gains[*a].total_cmp(&gains[*b]).then(b.cmp(a)))?;
        if gains[best] < LEAST {
            // All are as good as there already: the first ones.
            let rest = (0..all).filter(|row| !is_taken[*row]).take(count - taken.len());
            taken.extend(rest);
            break;
        }
        let (at, scale) = (taken.len(), gains[best].sqrt());
        let of_best: Vec<f32> = factor[best * count..best * count + at].to_vec();
        let best_row = &rows[best * width..(best + 1) * width];
        let each = factor.par_chunks_exact_mut(count).zip(&mut gains).zip(rows.par_chunks_exact(width));
        each.with_min_len(64).for_each(|((factor, gain), row)| {
            let known = dot(&factor[..at], &of_best);
            let entry = (kernel.value(dot(row, best_row)) - known) / scale;
            factor[at] = entry as f32;
            *gain -= entry * entry;
        });
        is_taken[best] = true;
        taken.push(best);
    }
    Some(taken)
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    /// Sums that the compiler keeps in one register.
    const LANES: usize = 8;
    let mut sums = [0.0_f32; LANES];
    let (heads, tails) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest: f32 = heads.remainder().iter().zip(tails.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in heads.zip(tails) {
        sums.iter_mut().zip(a.iter().zip(b)).for_each(|(sum, (a, b))| *sum += a * b);
    }
    sums.iter().map(|sum| f64::from(*sum)).sum::<f64>() + f64::from(rest)
}

/// The likeness of two rows.
struct Kernel {
    width: f64,
}

impl Kernel {
    fn of(rows: &[f32], width: usize) -> Self {
        let all = rows.len() / width;
        let step = all.div_ceil(MEASURED).max(1);
        let some: Vec<&[f32]> = rows.chunks_exact(width).step_by(step).collect();
        let mut apart: Vec<f64> = Vec::new();
        for (at, row) in some.iter().enumerate() {
            apart.extend(some[..at].iter().map(|other| 1.0 - dot(row, other)));
        }
        apart.sort_unstable_by(f64::total_cmp);
        let median = apart.get(apart.len() / 2).copied().unwrap_or(1.0);
        Self { width: median.max(1e-6) }
    }

    fn value(&self, cosine: f64) -> f64 {
        ((cosine - 1.0).min(0.0) / self.width).exp()
    }
}

#[cfg(test)]
mod tests {
    use rand::RngExt;

    use super::*;
    use crate::latents::Dense;

    fn random(rows: usize, width: usize, seed: u64) -> Dense {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let values: Vec<f32> = (0..rows * width).map(|_| random.random_range(-1.0..1.0)).collect();
        Dense::new(values, width)
    }

    /// The determinant of the kernel of some rows, by elimination.
    fn determinant(rows: &[f32], width: usize, chosen: &[usize]) -> f64 {
        let kernel = Kernel::of(rows, width);
        let row = |at: usize| &rows[at * width..(at + 1) * width];
        let entry = |a: usize, b: usize| if a == b { 1.0 } else { kernel.value(dot(row(a), row(b))) };
        let mut matrix: Vec<Vec<f64>> = chosen.iter().map(|a| chosen.iter().map(|b| entry(*a, *b)).collect()).collect();
        let mut product = 1.0;
        for pivot in 0..chosen.len() {
            product *= matrix[pivot][pivot];
            let (above, below) = matrix.split_at_mut(pivot + 1);
            for row in below {
                let factor = row[pivot] / above[pivot][pivot];
                row.iter_mut().zip(&above[pivot]).for_each(|(value, pivot)| *value -= factor * pivot);
            }
        }
        product
    }

    #[test]
    fn each_item_is_the_one_with_the_largest_determinant() {
        let latents = random(200, 9, 3);
        let rows = units(&latents, &(0..200).collect::<Vec<_>>());
        let found = greedy(&rows, 9, 25, &|_, _| true).unwrap();
        let mut chosen: Vec<usize> = Vec::new();
        for next in found {
            let with = |row: usize| determinant(&rows, 9, &[&chosen[..], &[row]].concat());
            let others = (0..200).filter(|row| !chosen.contains(row));
            let best = others.map(with).fold(0.0, f64::max);
            assert!(with(next) > best * (1.0 - 1e-4), "{next} after {chosen:?}: {} of {best}", with(next));
            chosen.push(next);
        }
    }

    #[test]
    fn copies_come_last_and_groups_take_their_shares() {
        let width = 6;
        let latents = random(40, width, 5);
        let mut values = vec![0.0; 40 * width];
        values.chunks_exact_mut(width).enumerate().for_each(|(row, out)| latents.copy_row(row % 10, out));
        let copies = Dense::new(values, width);
        assert_eq!(most_different(&copies, 10, 0, &|_, _| true), Some((0..10).collect()));
        assert_eq!(most_different(&copies, 12, 0, &|_, _| true), Some((0..12).collect()));
        assert_eq!(most_different(&copies, 50, 0, &|_, _| true), Some((0..40).collect()));
        assert_eq!(most_different(&copies, 10, 0, &|_, _| false), None);
        let many = random(EXACT + 10, 2, 1);
        let found = most_different(&many, 31, 4, &|_, _| true).unwrap();
        assert_eq!(found.len(), 31);
        assert!(found.windows(2).all(|two| two[0] < two[1]));
    }
}
