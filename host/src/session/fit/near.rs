//! Captions to hold out that are nearly those trained on: by their words, where contents differ.

use crate::config::PairEnd;
use crate::dataset::{Dataset, NearTexts, Table};
use crate::session::Error;
use crate::session::towers::Towers;
use crate::wording::{count, short_path};

/// The most captions that are compared.
const MOST: usize = 4_000_000;

/// Warns of captions in `held_out` that are nearly ones of `train`, with the first of them.
pub(super) fn warn_of_near(
    towers: &Towers<'_>,
    ends: &[PairEnd; 2],
    train: &Dataset,
    held_out: &[&Dataset],
) -> Result<(), Error> {
    let Dataset::Table(train) = train else { return Ok(()) };
    for end in ends {
        if held_out.is_empty() || towers.modality(end.tower)?.as_deref() != Some("text") {
            continue;
        }
        let session = towers.session();
        if train.len() > MOST {
            if session.is_news(format!("near {}", train.path().display())) {
                tracing::warn!(
                    "{}: {}, and more than {MOST} are not searched for captions that are nearly those to hold out",
                    short_path(train.path()).display(),
                    count(train.len(), "caption")
                );
            }
            continue;
        }
        // Files that a session has compared need not be again: a sweep fits to the same ones many times.
        let of = |table: &Table| {
            let mut digest = blake3::Hasher::new();
            for (row, text) in table.column(&end.column).map(|column| column.texts()).unwrap_or_default() {
                digest.update(&row.to_le_bytes()).update(text.as_bytes());
            }
            digest.finalize()
        };
        let of_train = of(train);
        let is_new = |table: &&Table| {
            let path = table.path().display();
            session.is_news(format!("near {of_train} {path} {}", of(table)))
        };
        let tables = held_out.iter().filter_map(|file| match file {
            Dataset::Table(table) => Some(table),
            Dataset::Precomputed(_) => None,
        });
        let tables: Vec<&Table> = tables.filter(is_new).collect();
        if tables.is_empty() {
            continue;
        }
        let known = train.column(&end.column)?.texts();
        let index = NearTexts::of(known.iter().map(|(_, text)| *text).collect(), &session.stop);
        for table in tables {
            let held = table.column(&end.column)?.texts();
            let going = held.iter().take_while(|_| !session.should_stop());
            let mut near = going.filter_map(|(row, text)| Some((*row, text, known[index.near(text)?].0)));
            let Some((row, text, like)) = near.next() else { continue };
            let (path, all, found) = (short_path(table.path()), count(held.len(), "caption"), 1 + near.count());
            if session.should_stop() {
                return Err(Error::Stopped);
            }
            tracing::warn!(
                "{}: {} of {all} have nearly the words of one that is trained on, the first is row {}, {text:?}, like \
                 row {} of {}; `fusemix data FILE --against FILE` names all",
                path.display(),
                found,
                table.number(row),
                train.number(like),
                short_path(train.path()).display(),
            );
        }
    }
    Ok(())
}
