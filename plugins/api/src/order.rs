//! The place of each vector of an answer among the inputs of its request, by the indices that the server gives.

use serde_json::Value;
use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The way in which a server counts, as far as answers have shown it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counting {
    /// The index that it gives to the first input of a request.
    pub(crate) first: Option<i64>,
    /// True if an input that it leaves out keeps its number, so that the others keep theirs.
    pub(crate) leaves_gaps: bool,
}

/// The ways in which the answers so far were counted.
#[derive(Default)]
pub(crate) struct Seen(Mutex<Facts>);

#[derive(Default)]
struct Facts {
    first: First,
    leaves_gaps: bool,
    /// True while the answer to a single input is to show where the server counts from.
    is_asked: bool,
}

/// The index that answers give to the first input of their request.
#[derive(Clone, Copy, Debug, Default)]
enum First {
    #[default]
    Nothing,
    Always(i64),
    /// Another in each answer.
    Several,
}

impl Seen {
    fn facts(&self) -> MutexGuard<'_, Facts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What all answers so far agree on.
    pub(crate) fn counting(&self) -> Counting {
        let facts = self.facts();
        let first = if let First::Always(index) = facts.first { Some(index) } else { None };
        Counting { first, leaves_gaps: facts.leaves_gaps }
    }

    /// Records the first index of a complete answer.
    pub(crate) fn learn(&self, index: i64) {
        let first = &mut self.facts().first;
        *first = match *first {
            First::Nothing => First::Always(index),
            First::Always(other) if other == index => First::Always(index),
            First::Always(_) | First::Several => First::Several,
        };
    }

    /// Records that an answer has a gap between its indices.
    pub(crate) fn learn_gap(&self) {
        self.facts().leaves_gaps = true;
    }

    /// Asks for what the index of a single input says, if nothing else has said it.
    pub(crate) fn ask(&self) {
        self.facts().is_asked = true;
    }

    /// Records the index of a single input, if that was asked for: 0, which may be left out, or 1.
    pub(crate) fn learn_single(&self, index: Option<i64>) {
        let mut facts = self.facts();
        let index = index.unwrap_or(0);
        if std::mem::take(&mut facts.is_asked) && matches!(facts.first, First::Nothing) && (0..=1).contains(&index) {
            facts.first = First::Always(index);
        }
    }
}

/// The number of an index; none if it is left out.
pub(crate) fn number(index: &Value) -> Result<Option<i64>, String> {
    let whole = |number: f64| (number.abs() < 1e15 && number.fract() == 0.0).then_some(number as i64);
    let number = match index {
        Value::Null => return Ok(None),
        Value::String(text) => text.trim().parse().ok(),
        number => number.as_f64().and_then(whole),
    };
    number.map(Some).ok_or_else(|| format!("index {index} is no position"))
}

/// The index of the first of the vectors, if these are all that there can be: each has its own, and none is left out
/// between them.
pub(crate) fn first(indices: &[Option<i64>]) -> Option<i64> {
    let given: HashSet<i64> = indices.iter().flatten().copied().collect();
    let (least, most) = (given.iter().min()?, given.iter().max()?);
    let is_complete = given.len() == indices.len() && most - least + 1 == given.len() as i64;
    is_complete.then_some(*least)
}

/// True if each index is that of its place, counted from `first`.
pub(crate) fn are_in_place(indices: &[Option<i64>], first: i64) -> bool {
    indices.iter().zip(first..).all(|(index, place)| index.is_none_or(|index| index == place))
}

/// The place of each of as many vectors as there are inputs: a permutation.
pub(crate) fn places(indices: &[Option<i64>]) -> Result<Vec<usize>, String> {
    let count = indices.len();
    let as_they_come = || Ok((0..count).collect());
    let given: Vec<i64> = indices.iter().flatten().copied().collect();
    // None says anything, or all say the same, such as what is said of the only vector of a request.
    let is_one = given.len() == count && given.iter().all(|index| *index == given[0]);
    if given.is_empty() || is_one {
        return as_they_come();
    }
    // JSON writers that leave out what is 0.
    if are_in_place(indices, 0) {
        return as_they_come();
    }
    // Some count from 1, and some on from request to request.
    let first = first(indices).unwrap_or(0);
    let mut taken = vec![false; count];
    for index in &given {
        match usize::try_from(index - first).ok().and_then(|place| taken.get_mut(place)) {
            None => return Err(format!("index {index} is out of range for {count} vectors")),
            Some(true) => return Err(format!("index {index} appears twice")),
            Some(taken) => *taken = true,
        }
    }
    // A position that nobody else claims is the missing one's.
    let mut free = (0..count).filter(|place| !taken[*place]);
    let only = free.next().filter(|_| free.next().is_none());
    let place = |index: &Option<i64>| index.map(|index| (index - first) as usize).or(only);
    let places: Option<Vec<usize>> = indices.iter().map(place).collect();
    places.ok_or_else(|| "some vectors in the answer have an index and some do not".to_owned())
}

/// The places of some vectors among more inputs; none if they are uncertain, or if these are not most of the inputs.
pub(crate) fn places_of_some(indices: &[i64], inputs: usize, known: Counting) -> Option<Vec<usize>> {
    let end = inputs as i64;
    let first = known.first.or_else(|| match (indices.contains(&0), indices.contains(&end)) {
        (true, false) => Some(0),
        (false, true) => Some(1),
        _ => None,
    })?;
    // A server that leaves an input out and counts the others anew gives these as well.
    let all: Vec<Option<i64>> = indices.iter().copied().map(Some).collect();
    if !known.leaves_gaps && self::first(&all) == Some(first) {
        return None;
    }
    let is_distinct = indices.iter().collect::<HashSet<_>>().len() == indices.len();
    let place = |index: &i64| usize::try_from(index - first).ok().filter(|place| *place < inputs);
    let places: Vec<usize> = indices.iter().map(place).collect::<Option<_>>()?;
    (is_distinct && 2 * places.len() > inputs).then_some(places)
}

/// True if the indices of fewer vectors than inputs have a gap between them: an input that was left out kept its number.
pub(crate) fn have_gap(indices: &[Option<i64>], inputs: usize) -> bool {
    let given: HashSet<i64> = indices.iter().flatten().copied().collect();
    let (Some(least), Some(most)) = (given.iter().min(), given.iter().max()) else { return false };
    let range = most - least + 1;
    given.len() == indices.len() && given.len() < inputs && range > given.len() as i64 && range <= inputs as i64
}

/// True if the indices of fewer vectors than inputs would be places, if it were known where the server counts from: from
/// 0 if the first was left out, or from 1 if the last was.
pub(crate) fn want_first(indices: &[Option<i64>], inputs: usize) -> bool {
    let given: HashSet<i64> = indices.iter().flatten().copied().collect();
    let count = given.len();
    count == indices.len()
        && count < inputs
        && 2 * count > inputs
        && given.iter().all(|index| (1..inputs as i64).contains(index))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_say_the_order_as_far_as_they_say_anything() {
        let of = |indices: &str| {
            let data: Vec<Value> = serde_json::from_str(indices).unwrap();
            let indices: Result<Vec<_>, _> = data.iter().map(number).collect();
            indices.and_then(|indices| places(&indices))
        };
        let good = [
            ("[0, 1, 2]", [0, 1, 2]),
            ("[2, 0, 1]", [2, 0, 1]),
            ("[null, null, null]", [0, 1, 2]),
            // 0 is left out, in its place and in another one; and another than 0.
            ("[null, 1, 2]", [0, 1, 2]),
            ("[2, null, 1]", [2, 0, 1]),
            ("[0, null, 1]", [0, 2, 1]),
            ("[null, null, 2]", [0, 1, 2]),
            ("[\"1\", \"0\", \"2\"]", [1, 0, 2]),
            ("[0.0, 2.0, 1.0]", [0, 2, 1]),
            ("[1, 2, 3]", [0, 1, 2]),
            ("[3, 1, 2]", [2, 0, 1]),
            ("[-1, 1, 0]", [0, 2, 1]),
            // On from the request before.
            ("[98, 96, 97]", [2, 0, 1]),
            ("[0, 0, 0]", [0, 1, 2]),
            ("[-1, -1, -1]", [0, 1, 2]),
        ];
        for (indices, wanted) in good {
            assert_eq!(of(indices), Ok(wanted.to_vec()), "{indices}");
        }
        let bad = [
            ("[0, 0, 1]", "index 0 appears twice"),
            ("[0, 1, 3]", "index 3 is out of range for 3 vectors"),
            ("[96, 97, 99]", "index 96 is out of range for 3 vectors"),
            ("[2, null, null]", "some vectors in the answer have an index and some do not"),
            ("[1, 1, null]", "index 1 appears twice"),
            ("[1.5, 0, 1]", "index 1.5 is no position"),
            ("[\"a\", 0, 1]", "index \"a\" is no position"),
        ];
        for (indices, reason) in bad {
            assert_eq!(of(indices), Err(reason.to_owned()), "{indices}");
        }
    }

    #[test]
    fn some_vectors_have_their_places_where_it_is_certain_from_where_the_server_counts() {
        for (indices, inputs, known, places) in [
            (&[0, 2, 3][..], 5, None, Some(vec![0, 2, 3])),
            (&[5, 1, 3], 5, None, Some(vec![4, 0, 2])),
            (&[1, 2, 3], 5, None, None),
            (&[1, 2, 3], 5, Some(0), Some(vec![1, 2, 3])),
            (&[1, 2, 3], 5, Some(1), None),
            (&[3, 2, 0, 1], 5, None, None),
            (&[1, 2, 4], 5, Some(1), Some(vec![0, 1, 3])),
            (&[0, 2, 2], 5, None, None),
            (&[0, 5, 2], 5, None, None),
            (&[0, 1], 4, None, None),
        ] {
            let known = Counting { first: known, leaves_gaps: false };
            assert_eq!(places_of_some(indices, inputs, known), places, "{indices:?} of {inputs}, {known:?}");
        }
        // Who leaves gaps does not count anew.
        for (first, places) in [(None, Some(vec![0, 1, 2])), (Some(0), Some(vec![0, 1, 2])), (Some(1), None)] {
            assert_eq!(places_of_some(&[0, 1, 2], 4, Counting { first, leaves_gaps: true }), places, "{first:?}");
        }
    }

    #[test]
    fn the_way_of_counting_is_learned_from_answers() {
        let seen = Seen::default();
        assert_eq!(seen.counting(), Counting::default());
        for (index, known) in [(0, Some(0)), (0, Some(0)), (96, None), (0, None)] {
            seen.learn(index);
            assert_eq!(seen.counting().first, known);
        }
        // A single index says it only where it is asked for.
        for (index, known) in [(None, Some(0)), (Some(0), Some(0)), (Some(1), Some(1)), (Some(17), None)] {
            let seen = Seen::default();
            seen.learn_single(Some(0));
            assert_eq!(seen.counting().first, None);
            seen.ask();
            seen.learn_single(index);
            assert_eq!(seen.counting().first, known, "{index:?}");
        }
        let some = |indices: &[i64]| indices.iter().copied().map(Some).collect::<Vec<_>>();
        for (indices, gap, first) in [
            (&[1, 2, 3][..], false, true),
            (&[3, 1, 2], false, true),
            (&[0, 1, 2], false, false),
            (&[1, 2, 4], true, false),
            (&[0, 2, 3], true, false),
            (&[1, 3], true, false),
            (&[1, 1, 3], false, false),
            (&[1, 2, 9], false, false),
        ] {
            let indices = some(indices);
            assert_eq!((have_gap(&indices, 4), want_first(&indices, 4)), (gap, first), "{indices:?}");
        }
        assert!(want_first(&some(&[1, 2, 4]), 5) && !have_gap(&[None, Some(2)], 4));
        assert_eq!(first(&[Some(3), Some(1), Some(2)]), Some(1));
        assert_eq!([first(&[Some(1), Some(3)]), first(&[Some(0), None]), first(&[])], [None; 3]);
    }
}
