//! Bits of vectors, and what they tell of a product with a query.

use pulp::Simd;

use crate::kernels::{arch, prefetch};

/// Bits of a value of a query.
const PLANES: usize = 4;

/// Codes between one that is counted and one that is asked for: the memory takes as long as these do.
const AHEAD: usize = 32;

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
                let sum: u32 = code.iter().zip(signs).map(|(code, sign)| (!(code ^ sign)).count_ones()).sum();
                // Of vectors wider than any model's, those that agree oftener count as much.
                *agree = sum.min(u16::MAX.into()) as u16;
            }
        }
    }
}

#[inline(always)]
fn count_of<const EACH: usize>(signs: &[u64], words: &[u64], agree: &mut [u16]) {
    let signs: &[u64; EACH] = signs.first_chunk().expect("as many words as a code has");
    let codes = words.as_chunks::<EACH>().0;
    for (number, (agree, code)) in agree.iter_mut().zip(codes).enumerate() {
        prefetch(codes, number + AHEAD);
        let mut sum = 0;
        for at in 0..EACH {
            sum += (!(code[at] ^ signs[at])).count_ones();
        }
        *agree = sum as u16;
    }
}

/// Counts the rows of a set by their agreements.
pub(super) fn tally(agree: &[u16], wanted: &[u64], counts: &mut [u32]) {
    for (rows, &word) in agree.chunks(64).zip(wanted) {
        // A set may go on beyond the rows that have a code.
        rows_of(word & u64::MAX >> (64 - rows.len()), |bit| counts[usize::from(rows[bit])] += 1);
    }
}

/// The numbers of the rows of a set that agree at least so often.
pub(super) fn chosen(agree: &[u16], wanted: &[u64], least: u16) -> Vec<usize> {
    let mut numbers = Vec::new();
    choose(agree, wanted, least, &mut numbers);
    numbers
}

#[pulp::with_simd(choose = arch())]
#[inline(always)]
fn choose_with<'a, S: Simd>(_: S, agree: &'a [u16], wanted: &'a [u64], least: u16, numbers: &'a mut Vec<usize>) {
    for (block, (rows, &word)) in agree.chunks(64).zip(wanted).enumerate() {
        let mut enough = 0_u64;
        for (bit, &agree) in rows.iter().enumerate() {
            enough |= u64::from(agree >= least) << bit;
        }
        rows_of(enough & word, |bit| numbers.push(64 * block + bit));
    }
}

/// The bits of a word that are 1, the lowest first.
#[inline(always)]
fn rows_of(mut word: u64, mut see: impl FnMut(usize)) {
    while word != 0 {
        see(word.trailing_zeros() as usize);
        word &= word - 1;
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
    match query.signs.len() {
        // The usual lengths, unrolled.
        8 => estimate_of::<8>(query, codes, numbers, products),
        16 => estimate_of::<16>(query, codes, numbers, products),
        each => {
            for at in 0..numbers.len() {
                let code = &codes[numbers[at] * each..][..each];
                products[at] = product(query, each, |word| code[word], |plane, word| query.planes[plane][word]);
            }
        }
    }
}

#[inline(always)]
fn estimate_of<const EACH: usize>(query: &Query, codes: &[u64], numbers: &[usize], products: &mut [f32]) {
    let planes: [&[u64; EACH]; PLANES] =
        std::array::from_fn(|plane| query.planes[plane].first_chunk().expect("as many words as a code has"));
    for at in 0..numbers.len() {
        let code: &[u64; EACH] = codes[numbers[at] * EACH..].first_chunk().expect("a whole code");
        products[at] = product(query, EACH, |word| code[word], |plane, word| planes[plane][word]);
    }
}

/// The product of a code of `each` words with the planes of a query.
#[inline(always)]
fn product(query: &Query, each: usize, code: impl Fn(usize) -> u64, planes: impl Fn(usize, usize) -> u64) -> f32 {
    let (mut ones, mut sums) = (0, [0_u32; PLANES]);
    for word in 0..each {
        let bits = code(word);
        ones += bits.count_ones();
        for (plane, sum) in sums.iter_mut().enumerate() {
            *sum += (bits & planes(plane, word)).count_ones();
        }
    }
    let sum = sums[0] + (sums[1] << 1) + (sums[2] << 2) + (sums[3] << 3);
    // Of the values whose sign is 1, twice, less all.
    2.0 * (query.low * ones as f32 + query.step * sum as f32) - query.sum
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
        // Rows are counted and chosen as one by one.
        let agree: Vec<u16> = values(3, 1000).iter().map(|value| ((value + 1.0) * 100.0) as u16).collect();
        let wanted: Vec<u64> =
            (0..16_u64).map(|word| if word % 3 == 0 { u64::MAX } else { word * 0x9e37_79b9 }).collect();
        let is_wanted = |row: usize| wanted[row / 64] >> (row % 64) & 1 == 1;
        let mut counts = vec![0; 201];
        tally(&agree, &wanted, &mut counts);
        for (number, count) in counts.into_iter().enumerate() {
            let rows = (0..1000).filter(|&row| usize::from(agree[row]) == number && is_wanted(row)).count();
            assert_eq!(count as usize, rows);
        }
        let enough: Vec<usize> = (0..1000).filter(|&row| agree[row] >= 90 && is_wanted(row)).collect();
        assert_eq!(chosen(&agree, &wanted, 90), enough);
        assert_eq!(factor(&[0.0, 0.0]), 0.0);
        assert_eq!(factor(&[3.0, -4.0]), 25.0 / 7.0);
    }
}
