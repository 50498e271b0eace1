//! Which keys are surely not among many: a Bloom filter (Bloom, 1970), 1 to 4 bytes a key.

use super::Key;

/// Bits a key when a filter is made, at least, and those at which it is full: of 40 other keys it then takes one for its own.
const BITS: usize = 16;
const FEWEST_BITS: usize = 8;

pub(super) struct Filter {
    /// A power of two of bits.
    bits: Vec<u64>,
    keys: usize,
}

impl Filter {
    /// For `keys` keys and as many again.
    pub(super) fn new(keys: usize) -> Self {
        Self { bits: vec![0; (keys.max(1 << 10) * BITS).next_power_of_two() / 64], keys: 0 }
    }

    pub(super) fn insert(&mut self, key: &Key) {
        let places = self.places(key);
        places.for_each(|(word, bit)| self.bits[word] |= bit);
        self.keys += 1;
    }

    /// Whether a larger one is due.
    pub(super) fn is_full(&self) -> bool {
        self.keys * FEWEST_BITS > self.bits.len() * 64
    }

    /// False only of a key that was never inserted.
    pub(super) fn may_have(&self, key: &Key) -> bool {
        self.places(key).all(|(word, bit)| self.bits[word] & bit != 0)
    }

    /// A key is a hash: each of its four words is a place.
    fn places(&self, key: &Key) -> impl Iterator<Item = (usize, u64)> + use<> {
        let mask = self.bits.len() as u64 - 1;
        let words = key.0.as_chunks().0.to_owned();
        words.into_iter().map(u64::from_le_bytes).map(move |word| (((word >> 6) & mask) as usize, 1 << (word & 63)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(index: usize) -> Key {
        Key::of(&fusemix_sdk::Modality::Text, &index.to_le_bytes())
    }

    #[test]
    fn has_all_of_its_own_and_few_others() {
        let mut filter = Filter::new(5000);
        let mut own = 0;
        while !filter.is_full() {
            filter.insert(&key(own));
            own += 1;
        }
        assert!(own > 10_000 && (0..own).all(|index| filter.may_have(&key(index))));
        let others = (own..2 * own).filter(|&index| filter.may_have(&key(index))).count();
        assert!(others < own / 30, "{others} of {own}");
        assert!(!Filter::new(0).may_have(&key(0)));
    }
}
