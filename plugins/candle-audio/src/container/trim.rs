//! Dropping the samples that an encoder put before and behind a sound.

use std::collections::VecDeque;

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

/// What of some spans has passed.
#[derive(Default)]
pub(crate) struct Trim {
    /// What is left of them; each is counted from the end of the one before.
    left: VecDeque<Span>,
    tail: usize,
    /// The last samples, which may be the tail.
    held: Vec<f32>,
}

impl Trim {
    pub(crate) fn new(spans: Vec<Span>) -> Self {
        let tail = spans.last().map_or(0, |span| span.tail);
        Self { left: spans.into(), tail, held: Vec::new() }
    }

    /// Appends those of `samples`, the next ones, that are the sound to `sound`.
    pub(crate) fn pass(&mut self, samples: &[f32], sound: &mut Vec<f32>) {
        self.held.extend_from_slice(samples);
        let over = self.held.len().saturating_sub(self.tail);
        let mut rest = &self.held[..over];
        while let Some(span) = self.left.front_mut().filter(|_| !rest.is_empty()) {
            let (skipped, own) = rest.split_at(at_most(rest.len(), span.skip));
            span.skip -= skipped.len() as u64;
            let (kept, others) = own.split_at(at_most(own.len(), span.keep.unwrap_or(u64::MAX)));
            sound.extend_from_slice(kept);
            rest = others;
            span.keep = span.keep.map(|keep| keep - kept.len() as u64);
            if span.keep == Some(0) {
                self.left.pop_front();
            }
        }
        self.held.drain(..over);
    }
}

fn at_most(length: usize, most: u64) -> usize {
    length.min(usize::try_from(most).unwrap_or(usize::MAX))
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
                let (mut trim, mut sound) = (Trim::new(vec![span]), Vec::new());
                all.chunks(each).for_each(|samples| trim.pass(samples, &mut sound));
                assert_eq!(sound, all[expected.clone()], "{span:?}, {each} at a time");
            }
        }
    }

    #[test]
    fn what_is_between_two_spans_is_dropped() {
        let all: Vec<f32> = (0..20).map(|at| at as f32).collect();
        let span = |skip, keep| Span { skip, keep, tail: 0 };
        for each in [1, 3, 7, 20] {
            let (mut trim, mut sound) =
                (Trim::new(vec![span(3, Some(4)), span(5, Some(2)), span(1, None)]), Vec::new());
            all.chunks(each).for_each(|samples| trim.pass(samples, &mut sound));
            assert_eq!(sound, [&all[3..7], &all[12..14], &all[15..]].concat(), "{each} at a time");
        }
    }
}
