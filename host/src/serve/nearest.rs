//! What is near to a query in galleries, and the answer that it makes.

use serde::Serialize;
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::error::Refusal;
use super::{HEAVY, answer, galleries};
use crate::gallery::{Filter, Gallery, GalleryError, Hit};
use crate::session::{Error, GalleryHit};

/// Bytes of a value in memory, beside its text.
const VALUE: usize = 128;
/// Copies of an item in memory while an answer is made: as it is parsed, as it is answered, and as text.
const ITEM_COPIES: usize = 3;

/// What was found in each gallery.
#[derive(Serialize, ToSchema)]
pub(super) struct SearchResponse {
    results: Vec<SearchResult>,
}

/// What was found in a gallery, nearest first.
#[derive(Serialize, ToSchema)]
struct SearchResult {
    gallery: String,
    found: Vec<FoundItem>,
    /// Why it cannot be searched now, if `to` did not name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// An item.
#[derive(Serialize, ToSchema)]
struct FoundItem {
    /// 1 for the nearest.
    rank: usize,
    /// The cosine with the query, with the term against hubs where the space has one.
    score: f32,
    id: String,
    /// The text, the path of the file, or its URL; null if it came without one.
    item: Value,
    metadata: Map<String, Value>,
    /// The place of its content on this server; null for texts, and for what is not a file of the server's machine.
    content: Option<String>,
}

/// The nearest rows of a gallery.
pub(super) struct Nearest {
    gallery: Arc<Gallery>,
    hits: Vec<Hit>,
    /// Bytes in memory that they take in an answer while it is made.
    bytes: usize,
}

impl Nearest {
    pub(super) fn of(
        app: &App,
        name: &str,
        query: &Vec<f32>,
        k: usize,
        filter: Option<&Filter>,
    ) -> Result<Self, Refusal> {
        let gallery = app.gallery(name)?.current()?;
        let found = app.model.search_rows(&gallery, std::slice::from_ref(query), k, filter);
        let hits = found.map_err(|error| refusal(name, error))?.remove(0);
        // An item as it is parsed, and as text: each column has its name.
        let columns: usize = gallery.info().columns.iter().map(|column| VALUE + 2 * column.len()).sum();
        let of_item = |hit: &Hit| gallery.item_bytes(hit.row).map(|bytes| ITEM_COPIES * bytes + columns + VALUE);
        let bytes = hits.iter().map(of_item).sum::<Result<usize, _>>()?;
        Ok(Self { gallery, hits, bytes })
    }

    /// The items, nearest first.
    fn items(self, app: &App, name: &str) -> Result<Vec<FoundItem>, Refusal> {
        let shows = galleries::shows_files(app, &self.gallery);
        let item = |(rank, hit): (usize, Hit)| {
            let hit = GalleryHit::of(&self.gallery, hit)?;
            Ok(FoundItem {
                rank,
                score: hit.score,
                content: galleries::content_url(name, &hit.id, &hit.item, shows),
                id: hit.id,
                item: hit.item,
                metadata: hit.metadata.into_iter().collect(),
            })
        };
        (1..).zip(self.hits).map(item).collect()
    }
}

/// The refusal of a search of one gallery: a column of the filter may be another's.
fn refusal(gallery: &str, error: Error) -> Refusal {
    match error {
        Error::Gallery(GalleryError::NoColumn { .. }) => Refusal::invalid(format!(
            "gallery `{gallery}`: {error}; name those to search in `to`, or filter by what all have"
        ))
        .at("where"),
        error => error.into(),
    }
}

/// What is near in each gallery, or why it cannot be searched.
pub(super) struct Found(Vec<(String, Result<Nearest, Refusal>)>);

/// An answer that is small, or what a large one is made of.
pub(super) enum Answer {
    Small(Vec<u8>),
    /// It has to wait for its share of the memory.
    Large(Found),
}

impl Found {
    /// The first refusal if no gallery could be searched.
    pub(super) fn of(galleries: Vec<(String, Result<Nearest, Refusal>)>) -> Result<Self, Refusal> {
        let refusals: Option<Vec<&Refusal>> = galleries.iter().map(|(_, nearest)| nearest.as_ref().err()).collect();
        match refusals.and_then(|refusals| refusals.first().copied()) {
            Some(refusal) => Err(refusal.clone()),
            None => Ok(Self(galleries)),
        }
    }

    /// Bytes in memory of the answer while it is made.
    pub(super) fn bytes(&self) -> usize {
        self.0.iter().filter_map(|(_, nearest)| Some(nearest.as_ref().ok()?.bytes)).sum()
    }

    pub(super) fn answer_if_small(self, app: &App) -> Result<Answer, Refusal> {
        if self.bytes() < HEAVY { self.answer(app).map(Answer::Small) } else { Ok(Answer::Large(self)) }
    }

    /// The answer's bytes.
    pub(super) fn answer(self, app: &App) -> Result<Vec<u8>, Refusal> {
        let one = |(name, nearest): (String, Result<Nearest, Refusal>)| match nearest {
            Ok(nearest) => Ok(SearchResult { found: nearest.items(app, &name)?, gallery: name, problem: None }),
            Err(refusal) => Ok(SearchResult { gallery: name, found: Vec::new(), problem: Some(refusal.message()) }),
        };
        let results = self.0.into_iter().map(one).collect::<Result<_, Refusal>>()?;
        Ok(answer::bytes(&SearchResponse { results }))
    }
}
