//! Dropping the samples that an encoder put before and behind a sound.

/// The samples that are the sound, among those that a track decodes to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Span {
    /// Samples before it.
    pub(crate) skip: u64,
    /// Samples of it, if the container says so.
    pub(crate) keep: Option<u64>,
    /// Samples behind it, counted from the end.
    pub(crate) tail: usize,
}

/// What of a span has passed.
#[derive(Default)]
pub(crate) struct Trim {
    left: Span,
    /// The last samples, which may be the tail.
    held: Vec<f32>,
}

impl Trim {
    pub(crate) fn new(span: Span) -> Self {
        Self { left: span, held: Vec::new() }
    }

    /// Appends those of `samples`, the next ones, that are the sound to `sound`.
    pub(crate) fn pass(&mut self, samples: &[f32], sound: &mut Vec<f32>) {
        let skipped = samples.len().min(usize::try_from(self.left.skip).unwrap_or(usize::MAX));
        self.left.skip -= skipped as u64;
        self.held.extend_from_slice(&samples[skipped..]);
        let over = self.held.len().saturating_sub(self.left.tail);
        let kept = self.left.keep.map_or(over, |keep| over.min(usize::try_from(keep).unwrap_or(usize::MAX)));
        self.left.keep = self.left.keep.map(|keep| keep - kept as u64);
        sound.extend(self.held.drain(..over).take(kept));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_the_sound_is_dropped_however_it_comes() {
        let all: Vec<f32> = (0..20).map(|at| at as f32).collect();
        for (span, expected) in [
            (Span::default(), 0..20),
            (Span { skip: 3, keep: None, tail: 0 }, 3..20),
            (Span { skip: 3, keep: Some(10), tail: 0 }, 3..13),
            (Span { skip: 3, keep: Some(100), tail: 4 }, 3..16),
            (Span { skip: 0, keep: None, tail: 30 }, 0..0),
            (Span { skip: 25, keep: None, tail: 0 }, 0..0),
        ] {
            for each in [1, 3, 7, 20] {
                let (mut trim, mut sound) = (Trim::new(span), Vec::new());
                all.chunks(each).for_each(|samples| trim.pass(samples, &mut sound));
                assert_eq!(sound, all[expected.clone()], "{span:?}, {each} at a time");
            }
        }
    }
}
