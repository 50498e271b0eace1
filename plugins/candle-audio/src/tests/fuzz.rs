//! Damaged sounds of every container.

use fusemix_fuzzer::{corpus, fuzz};

use crate::sound::Sound;

#[test]
fn fuzz_sounds() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/golden/sounds");
    let pieces: [&[u8]; 5] = [b"RIFF", b"data", b"OggS", b"fLaC", b"moov"];
    fuzz("sounds", &corpus(golden), &pieces, 600, |bytes| {
        let Ok(mut sound) = Sound::open(bytes, 16_000) else { return };
        // Two seconds at most.
        for _ in 0..2 {
            if sound.window(16_000).map_or(true, |samples| samples.is_empty()) {
                return;
            }
        }
    });
}
