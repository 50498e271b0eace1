//! Seeded mutations of small inputs: damaged, cut, spliced, with pieces that parsers trip over.
//!
//! Each test tries a few thousand. `FUSEMIX_FUZZ_SECONDS=600` lets each go on for so long, and `FUSEMIX_FUZZ_SEED`
//! repeats a run. An input that panics, or takes longer than ten seconds, is kept in `target/fuzz`, and named.

use rand::rngs::SmallRng;
use rand::{Rng, RngExt, SeedableRng};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The time after which an input is too slow.
const SLOW: Duration = Duration::from_secs(10);

/// Pieces of text formats.
pub const WORDS: [&[u8]; 26] = [
    b"null",
    b"NaN",
    b"1e999",
    b"-0",
    b"[]",
    b"{}",
    b"\"\"",
    b"''",
    b"0.1",
    b",",
    b"]",
    b"}",
    b"\xc3\xa9",
    b"\xff",
    b"true",
    b"18446744073709551616",
    b"-1",
    b"[[[[[[[[",
    b"\\u0000",
    b"\r\n",
    b"\n",
    b"\t",
    b"\"",
    b"\0",
    b"\xef\xbb\xbf",
    b"=",
];

/// Tries mutations of the inputs in `corpus`, and the inputs themselves: `rounds` of them, or for as long as
/// `FUSEMIX_FUZZ_SECONDS` says. `pieces` are put in now and then.
pub fn fuzz(name: &str, corpus: &[Vec<u8>], pieces: &[&[u8]], rounds: usize, mut read: impl FnMut(&[u8])) {
    assert!(!corpus.is_empty(), "{name}: there is nothing to mutate");
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
    let limit = number("FUSEMIX_FUZZ_SECONDS").map(Duration::from_secs);
    let seed = number("FUSEMIX_FUZZ_SEED").unwrap_or_else(|| if limit.is_some() { rand::random() } else { 1 });
    println!("{name}: FUSEMIX_FUZZ_SEED={seed} repeats these inputs");
    let (mut random, start) = (SmallRng::seed_from_u64(seed), Instant::now());
    let goes_on = |round: usize| limit.map_or(round < rounds, |limit| start.elapsed() < limit);
    let mut round = 0;
    while goes_on(round) {
        let mut input = corpus[round % corpus.len()].clone();
        // The first are tried as they are.
        if round >= corpus.len() {
            mutate(&mut input, corpus, pieces, &mut random);
        }
        let begun = Instant::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| read(&input)));
        if let Err(panic) = outcome {
            println!("{name}: this input panics: {}", keep(name, &input).display());
            resume_unwind(panic);
        }
        if begun.elapsed() > SLOW {
            panic!("{name}: this input takes {:?}: {}", begun.elapsed(), keep(name, &input).display());
        }
        round += 1;
    }
    println!("{name}: {round} inputs in {:?}", start.elapsed());
}

/// Changes an input in one to five places.
pub fn mutate(input: &mut Vec<u8>, corpus: &[Vec<u8>], pieces: &[&[u8]], random: &mut SmallRng) {
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..=input.len());
        let end = random.random_range(at..=input.len().min(at + 64));
        match random.random_range(0..9) {
            0 => input.truncate(at),
            1 => drop(input.drain(at..end)),
            2 if !pieces.is_empty() => {
                let piece = pieces[random.random_range(0..pieces.len())];
                drop(input.splice(at..end, piece.iter().copied()));
            }
            3 => input.extend_from_within(at..end),
            4 => input[at..end].iter_mut().for_each(|byte| *byte = random.next_u32() as u8),
            // Lengths and counts at their limits.
            5 if at + 4 <= input.len() => {
                let value = [0, 1, u32::MAX, i32::MAX as u32, 1 << 16, 0x7ffff][random.random_range(0..6)];
                let bytes = if random.random() { value.to_le_bytes() } else { value.to_be_bytes() };
                input[at..at + 4].copy_from_slice(&bytes);
            }
            6 if at < input.len() => input[at] ^= 1 << random.random_range(0..8),
            7 => {
                let other = &corpus[random.random_range(0..corpus.len())];
                let from = random.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.extend((0..random.random_range(1..64)).map(|_| random.next_u32() as u8)),
        }
    }
}

/// The files in a folder, by name.
pub fn corpus(folder: impl AsRef<Path>) -> Vec<Vec<u8>> {
    let files = std::fs::read_dir(folder.as_ref()).unwrap_or_else(|error| panic!("{:?}: {error}", folder.as_ref()));
    let mut paths: Vec<PathBuf> =
        files.map(|file| file.expect("a file").path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a file that can be read")).collect()
}

fn keep(name: &str, input: &[u8]) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/fuzz");
    let path = folder.join(format!("{}-{}", name.replace(' ', "-"), std::process::id()));
    let kept = std::fs::create_dir_all(&folder).and_then(|()| std::fs::write(&path, input));
    kept.unwrap_or_else(|error| println!("it cannot be kept: {error}"));
    path
}
