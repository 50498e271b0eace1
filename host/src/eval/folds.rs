//! Parts of held-out pairs that are searched one by one, as papers do with COCO's five times 1,000 pictures.

use std::collections::HashMap;

use super::retrieval::{Embedded, Ranking, both_ways};
use crate::stop::GoOn;

/// A part: items of either side, and their matches as indices into those.
struct Fold {
    items: [Vec<usize>; 2],
    matches: Vec<(usize, usize)>,
}

/// Retrieval as [`both_ways`] has it, but of each query within its part alone: the items of the side that has fewer, in
/// order, in `count` parts of equal size, each with the items that match them. An item that matches several parts is in
/// each of them. There are at least as many items as parts. None if it is not to go on.
pub(super) fn within_folds(
    sides: [Embedded<'_>; 2],
    matches: &[(usize, usize)],
    count: usize,
    go_on: GoOn<'_>,
) -> Option<[Ranking; 2]> {
    let folds = folds(sides.map(|side| side.embeddings.len() / side.width), matches, count);
    let mut all: Option<[Ranking; 2]> = None;
    let mut searched = [0, 0];
    for (number, fold) in folds.iter().enumerate() {
        let rows = |side: usize| -> Vec<f32> {
            let Embedded { embeddings, width, .. } = sides[side];
            fold.items[side].iter().flat_map(|item| &embeddings[item * width..][..width]).copied().collect()
        };
        let (x, y) = (rows(0), rows(1));
        let [x, y] = [(0, &x), (1, &y)].map(|(side, embeddings)| Embedded { embeddings, ..sides[side] });
        let mut found = both_ways(x, y, &fold.matches, &|done, total| go_on(number * total + done, count * total))?;
        for (side, ranking) in found.iter_mut().enumerate() {
            ranking.queries.iter_mut().for_each(|query| *query = fold.items[side][*query]);
            searched[side] += ranking.gallery;
        }
        match &mut all {
            None => all = Some(found),
            Some(all) => all.iter_mut().zip(found).for_each(|(all, found)| all.append(found)),
        }
    }
    let mut all = all?;
    all.iter_mut().zip(searched).for_each(|(ranking, searched)| ranking.gallery = searched / count);
    Some(all)
}

fn folds(items: [usize; 2], matches: &[(usize, usize)], count: usize) -> Vec<Fold> {
    let fewer = usize::from(items[1] < items[0]);
    let all = items[fewer];
    let mut folds: Vec<Vec<(usize, usize)>> = vec![Vec::new(); count];
    for &(x, y) in matches {
        let item = if fewer == 0 { x } else { y };
        folds[item * count / all].push((x, y));
    }
    folds.into_iter().map(Fold::of).collect()
}

impl Fold {
    fn of(matches: Vec<(usize, usize)>) -> Self {
        let side = |of: &dyn Fn(&(usize, usize)) -> usize| {
            let mut items: Vec<usize> = matches.iter().map(of).collect();
            items.sort_unstable();
            items.dedup();
            let places: HashMap<usize, usize> = items.iter().copied().zip(0..).collect();
            (items, places)
        };
        let ((first, of_first), (second, of_second)) = (side(&|pair| pair.0), side(&|pair| pair.1));
        let matches = matches.iter().map(|(x, y)| (of_first[x], of_second[y])).collect();
        Self { items: [first, second], matches }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two directions by hand: the ranks of each query among the items of its own part.
    #[test]
    fn queries_are_searched_within_their_part() {
        // Four pictures and eight captions; caption 2 i and 2 i + 1 are of picture i.
        let angle = |degrees: f32| [degrees.to_radians().cos(), degrees.to_radians().sin()];
        let x: Vec<f32> = [0.0, 40.0, 80.0, 120.0].into_iter().flat_map(angle).collect();
        let captions = [5.0, 50.0, 30.0, 45.0, 1.0, 85.0, 125.0, 41.0];
        let y: Vec<f32> = captions.into_iter().flat_map(angle).collect();
        let matches: Vec<(usize, usize)> = (0..8).map(|caption| (caption / 2, caption)).collect();
        let side = |tower, embeddings| Embedded { tower, embeddings, width: 2 };
        let sides = [side("image", &x[..]), side("text", &y[..])];
        let all = |_: usize, _: usize| true;
        let [forth, back] = within_folds(sides, &matches, 2, &all).unwrap();
        // Pictures 0 and 1 with captions 5, 50, 30, 45; pictures 2 and 3 with captions 1, 85, 125, 41.
        assert_eq!((&forth.queries, &forth.ranks, forth.gallery), (&vec![0, 1, 2, 3], &vec![1, 1, 1, 1], 4));
        assert_eq!(back.queries, [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!((&back.ranks, back.gallery), (&vec![1, 2, 1, 1, 1, 1, 1, 2], 2));
        // In one part, captions 50, 1 and 41 have more pictures before their own.
        let whole = within_folds(sides, &matches, 1, &all).unwrap();
        assert_eq!(Some(whole.clone()), both_ways(sides[0], sides[1], &matches, &all));
        assert_eq!(whole[1].ranks, [1, 3, 1, 1, 3, 1, 1, 4]);
        // The other way around the parts are the same.
        let turned: Vec<(usize, usize)> = matches.iter().map(|&(x, y)| (y, x)).collect();
        let other = within_folds([sides[1], sides[0]], &turned, 2, &all).unwrap();
        assert_eq!((&other[0].ranks, &other[1].ranks), (&back.ranks, &forth.ranks));
        assert_eq!(within_folds(sides, &matches, 2, &|_, _| false), None);
    }
}
