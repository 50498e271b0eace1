//! A filter of keys that an index does not have. Looking up many such keys in a database larger than its page cache
//! would be most of the work.

use super::Key;

/// Minimum bits per key of a new filter, and of a full one: its rate of false positives is then 1 in 40.
const BITS: usize = 16;
const FEWEST_BITS: usize = 8;

/// Recognition of absent keys.
#[derive(Default)]
pub(super) struct Absent {
    /// A filter with every present key, once it is worthwhile.
    filter: Option<Filter>,
    /// Failed lookups since the filter was made.
    misses: u64,
}

impl Absent {
    /// Minimum failed lookups before a filter is made, as a number and as a share of the keys that are present.
    const FEW: u64 = 1 << 10;
    const PART: u64 = 1 << 3;

    /// Makes a filter of the `keys` present keys if one is due; `insert` must insert each of them.
    pub(super) fn make_if_due<E>(
        &mut self,
        keys: u64,
        insert: impl FnOnce(&mut dyn FnMut(Key)) -> Result<(), E>,
    ) -> Result<(), E> {
        let due = match &self.filter {
            Some(filter) => filter.is_full(),
            None => self.misses >= Self::FEW.max(keys / Self::PART),
        };
        if due {
            tracing::debug!("a filter of {keys} keys");
            self.filter = None;
            let mut filter = Filter::new(keys as usize);
            insert(&mut |key| filter.insert(&key))?;
            *self = Self { filter: Some(filter), misses: 0 };
        }
        Ok(())
    }

    pub(super) fn surely_has(&self, key: &Key) -> bool {
        self.filter.as_ref().is_some_and(|filter| !filter.may_have(key))
    }

    /// Records a failed lookup.
    pub(super) fn missed(&mut self) {
        self.misses += 1;
    }

    /// Records that `key` is now present.
    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(filter) = &mut self.filter {
            filter.insert(key);
        }
    }
}

/// A Bloom filter (Bloom, 1970), 1 to 4 bytes a key.
struct Filter {
    /// A power of two of bits.
    bits: Vec<u64>,
    keys: usize,
}

impl Filter {
    /// A filter for twice `keys` keys.
    fn new(keys: usize) -> Self {
        Self { bits: vec![0; (keys.max(1 << 10) * BITS).next_power_of_two() / 64], keys: 0 }
    }

    fn insert(&mut self, key: &Key) {
        let places = self.places(key);
        places.for_each(|(word, bit)| self.bits[word] |= bit);
        self.keys += 1;
    }

    /// True if a larger filter is due.
    fn is_full(&self) -> bool {
        self.keys * FEWEST_BITS > self.bits.len() * 64
    }

    /// False only for a key that was never inserted.
    fn may_have(&self, key: &Key) -> bool {
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
