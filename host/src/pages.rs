//! Memory that begins as zeros, in large pages where the system has them: a product strides over more small pages than
//! a CPU keeps the addresses of.

use std::ops::{Deref, DerefMut};

use bytemuck::{Pod, cast_slice, cast_slice_mut};
use memmap2::MmapMut;

/// Bytes of a large page of most systems.
const LARGE: usize = 2 << 20;

/// Values in memory: a large part in pages of its own, with its bytes.
pub(crate) enum Pages<T> {
    Small(Vec<T>),
    Large(MmapMut, usize),
}

impl<T: Pod> Pages<T> {
    /// `len` zeros. A value's alignment is at most a page.
    pub(crate) fn zeros(len: usize) -> Self {
        let bytes = len * size_of::<T>();
        // To a page's end, without which the last one would be of small ones.
        let map = || MmapMut::map_anon(bytes.next_multiple_of(LARGE)).ok();
        let Some(map) = (bytes >= LARGE / 2).then(map).flatten() else {
            return Self::Small(vec![T::zeroed(); len]);
        };
        // A system that refuses them gives small pages.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Self::Large(map, bytes)
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Small(values) => values,
            Self::Large(map, bytes) => cast_slice(&map[..*bytes]),
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::Small(values) => values,
            Self::Large(map, bytes) => cast_slice_mut(&mut map[..*bytes]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_memory_begins_as_zeros_and_keeps_what_is_written() {
        for len in [0, 1, LARGE / 8 - 1, LARGE / 8, LARGE + 17] {
            let mut pages = Pages::<f32>::zeros(len);
            assert!(pages.len() == len && pages.iter().all(|&value| value == 0.0));
            pages.iter_mut().enumerate().for_each(|(at, value)| *value = at as f32);
            assert!(pages.iter().enumerate().all(|(at, &value)| value == at as f32));
        }
    }
}
