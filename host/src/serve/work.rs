//! The work of decoding what a request brings, and its bound.

use super::error::Refusal;
use super::limits::Limits;

/// The largest pictures that those of a request may take together, and the longest sounds.
const PICTURES: u64 = 20;
const SOUNDS: u64 = 4;

/// What decoding items takes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Work {
    /// Pixels of pictures.
    pub(super) pixels: u64,
    /// Seconds of sounds, of as many samples as stereo at 48 kHz has.
    pub(super) seconds: f64,
}

impl Work {
    /// Adds that of another item; an error if that is too much for a request.
    pub(super) fn add(&mut self, other: Self, limits: &Limits) -> Result<(), Refusal> {
        self.pixels = self.pixels.saturating_add(other.pixels);
        self.seconds += other.seconds;
        let (pixels, seconds) = (limits.pixels.saturating_mul(PICTURES), limits.seconds.saturating_mul(SOUNDS));
        if self.pixels > pixels {
            let message = format!("the pictures of this request have more than {pixels} pixels together; send fewer");
            return Err(Refusal::large(message));
        }
        match self.seconds > seconds as f64 {
            true => Err(Refusal::large(format!(
                "the sounds of this request have more samples than {seconds} s of stereo at 48 kHz; send fewer, or parts"
            ))),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_items_of_a_request_have_a_bound_together() {
        let limits = Limits { pixels: 10, seconds: 10, ..Limits::default() };
        let mut work = Work::default();
        for _ in 0..20 {
            work.add(Work { pixels: 10, seconds: 2.0 }, &limits).unwrap();
        }
        for more in [Work { pixels: 1, seconds: 0.0 }, Work { pixels: 0, seconds: 0.1 }] {
            assert_eq!({ work }.add(more, &limits).unwrap_err().status, 413);
        }
    }
}
