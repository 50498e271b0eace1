//! Bits of vectors, and what they tell of a product with a query.

use pulp::Simd;

use crate::kernels::arch;

/// Bits of a value of a query.
const PLANES: usize = 4;

/// A turned query: its signs, and its values in four bits.
pub(super) struct Query {
    signs: Vec<u64>,
    /// The bits of the values' numbers from 0 to 15, the least first.
    planes: [Vec<u64>; PLANES],
    /// The value of number 0, and the distance of two numbers.
    low: f32,
    step: f32,
    sum: f32,
}

/// The signs of values as bits: 1 of those above 0.
pub(super) fn signs(values: &[f32]) -> Vec<u64> {
    packed(values.iter().map(|value| *value > 0.0))
}

fn packed(bits: impl Iterator<Item = bool>) -> Vec<u64> {
    let mut words = Vec::new();
    for (at, bit) in bits.enumerate() {
        if at % 64 == 0 {
            words.push(0);
        }
        *words.last_mut().expect("a word was begun") |= u64::from(bit) << (at % 64);
    }
    words
}

/// The factor that makes an estimate of a product of a product with signs: that of a vector with itself, over that with
/// its signs. 0 of a vector of zeros.
pub(super) fn factor(turned: &[f32]) -> f32 {
    let (squares, sizes) =
        turned.iter().fold((0.0, 0.0), |(squares, sizes), value| (squares + value * value, sizes + value.abs()));
    if sizes > 0.0 { squares / sizes } else { 0.0 }
}

impl Query {
    pub(super) fn new(turned: &[f32]) -> Self {
        let low = turned.iter().copied().fold(f32::INFINITY, |least, value| if value < least { value } else { least });
        let high =
            turned.iter().copied().fold(f32::NEG_INFINITY, |most, value| if value > most { value } else { most });
        let step = ((high - low) / 15.0).max(f32::MIN_POSITIVE);
        let number = |value: &f32| ((value - low) / step).round() as u8;
        let plane = |bit: usize| packed(turned.iter().map(|value| number(value) >> bit & 1 == 1));
        Self { signs: signs(turned), planes: [0, 1, 2, 3].map(plane), low, step, sum: turned.iter().sum() }
    }
}

/// For each code of `words`, the number of values whose sign is that of the query's.
pub(super) fn agreements(query: &Query, words: &[u64], agree: &mut [u16]) {
    count(&query.signs, words, agree);
}

#[pulp::with_simd(count = arch())]
#[inline(always)]
fn count_with<'a, S: Simd>(_: S, signs: &'a [u64], words: &'a [u64], agree: &'a mut [u16]) {
    match signs.len() {
        // The usual lengths, unrolled.
        8 => count_of::<8>(signs, words, agree),
        16 => count_of::<16>(signs, words, agree),
        each => {
            for (agree, code) in agree.iter_mut().zip(words.chunks_exact(each)) {
                *agree = code.iter().zip(signs).map(|(code, sign)| (!(code ^ sign)).count_ones()).sum::<u32>() as u16;
            }
        }
    }
}

#[inline(always)]
fn count_of<const EACH: usize>(signs: &[u64], words: &[u64], agree: &mut [u16]) {
    let signs: &[u64; EACH] = signs.first_chunk().expect("as many words as a code has");
    for (agree, code) in agree.iter_mut().zip(words.as_chunks::<EACH>().0) {
        let mut sum = 0;
        for at in 0..EACH {
            sum += (!(code[at] ^ signs[at])).count_ones();
        }
        *agree = sum as u16;
    }
}

/// The products of a query's values in four bits with the signs of some codes: those of `codes` with these numbers.
pub(super) fn estimates(query: &Query, codes: &[u64], numbers: &[usize]) -> Vec<f32> {
    let mut products = vec![0.0; numbers.len()];
    estimate(query, codes, numbers, &mut products);
    products
}

#[pulp::with_simd(estimate = arch())]
#[inline(always)]
fn estimate_with<'a, S: Simd>(_: S, query: &'a Query, codes: &'a [u64], numbers: &'a [usize], products: &'a mut [f32]) {
    let each = query.signs.len();
    for (product, &number) in products.iter_mut().zip(numbers) {
        let (mut ones, mut sums) = (0, [0_u32; PLANES]);
        for (at, code) in codes[number * each..][..each].iter().enumerate() {
            ones += code.count_ones();
            for (sum, plane) in sums.iter_mut().zip(&query.planes) {
                *sum += (code & plane[at]).count_ones();
            }
        }
        let sum: u32 = (0..).zip(sums).map(|(bit, sum)| sum << bit).sum();
        // Of the values whose sign is 1, twice, less all.
        *product = 2.0 * (query.low * ones as f32 + query.step * sum as f32) - query.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(seed: u32, count: usize) -> Vec<f32> {
        let mut state = seed;
        (0..count)
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 8) as f32 / (1 << 23) as f32 - 1.0
            })
            .collect()
    }

    #[test]
    fn agreements_and_estimates_are_their_definitions() {
        for words in [1, 3, 8, 16] {
            let count = 64 * words;
            let (query, rows) = (values(1, count), values(2, 5 * count));
            let codes: Vec<u64> = rows.chunks(count).flat_map(signs).collect();
            let turned = Query::new(&query);
            let mut agree = [0; 5];
            agreements(&turned, &codes, &mut agree);
            for (row, vector) in rows.chunks(count).enumerate() {
                let same = vector.iter().zip(&query).filter(|(a, b)| (**a > 0.0) == (**b > 0.0)).count();
                assert_eq!(usize::from(agree[row]), same);
                let product: f32 = vector.iter().zip(&query).map(|(a, b)| if *a > 0.0 { *b } else { -b }).sum();
                let got = estimates(&turned, &codes, &[row])[0];
                // Each value is off by half a step at most, and the errors cancel out.
                assert!((got - product).abs() < turned.step * (count as f32).sqrt(), "{got} and not {product}");
            }
        }
        assert_eq!(factor(&[0.0, 0.0]), 0.0);
        assert_eq!(factor(&[3.0, -4.0]), 25.0 / 7.0);
    }
}
