//! A few thousand files with random faults, the same in each run: no panic leaves the plugin, and no latent is not
//! finite.

use rayon::prelude::*;

use super::*;

/// One to each kind of file, and short.
const NAMES: [&str; 9] =
    ["knock.wav", "rattle.flac", "sine.aac", "sine.aiff", "sine.caf", "sine.m4a", "sine.mp3", "sine.webm", "tune.ogg"];
const COPIES: u64 = 300;

/// Marsaglia's xorshift.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }
}

/// `file`, broken in one to four places, mostly near the start, where the headers are.
fn mutated(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..=random.below(4) {
        let reach = if random.below(3) == 0 { file.len() } else { file.len().min(300) };
        let at = random.below(reach.max(1)).min(file.len() - 1);
        match random.below(6) {
            0 => file[at] = random.below(256) as u8,
            1 => file[at] ^= 1 << random.below(8),
            2 => file[at..].iter_mut().take(4).for_each(|byte| *byte = 0xff),
            3 => file[at..].iter_mut().take(4).for_each(|byte| *byte = 0),
            4 => drop(file.drain(at..(at + 1 + random.below(8)).min(file.len() - 1).max(at))),
            _ => {
                let again: Vec<u8> = file[at..].iter().copied().take(1 + random.below(64)).collect();
                file.splice(at..at, again);
            }
        }
    }
    file
}

#[test]
fn no_fault_costs_more_than_its_file() {
    let encoder = open(&checkpoint("whisper"));
    let good: Vec<Vec<u8>> = NAMES.iter().map(|name| sound(name)).collect();
    let seeds: Vec<u64> = (1..=COPIES).collect();
    let outcomes: Vec<Outcome> = seeds
        .par_iter()
        .flat_map(|&seed| {
            let mut random = Random(seed);
            let files: Vec<Vec<u8>> = good.iter().map(|file| mutated(file, &mut random)).collect();
            encode(&encoder, &files)
        })
        .collect();
    let whole = outcomes.iter().filter_map(|outcome| outcome.as_ref().ok());
    assert!(whole.clone().all(|latent| latent.values.iter().all(|value| value.is_finite())));
    // What decodes no more says nothing of the spectrogram, and what still does nothing of the decoder.
    let (read, all) = (whole.count(), outcomes.len());
    assert!(read > all / 4 && read < all * 3 / 4, "{read} of {all} are read");
}
