//! `POST /search`: the items of galleries that are near to a text, a picture, a sound, a vector or an item.

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::body::{Field, Whole};
use super::error::{ErrorBody, Refusal};
use super::given::Given;
use super::{galleries, working};
use crate::gallery::Filter;
use crate::session::GalleryHit;

/// The most items of a gallery that an answer has.
const MOST: usize = 1000;

/// A query: one of `text`, `image`, `audio`, `vector` and `id`.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SearchRequest {
    #[serde(default)]
    text: Option<String>,
    /// A data URI, or base64.
    #[serde(default)]
    image: Option<String>,
    /// A data URI, or base64.
    #[serde(default)]
    audio: Option<String>,
    /// An embedding with all values of the space, as `fusemix embed` writes it, or those that `/v1/embeddings` gives.
    #[serde(default)]
    vector: Option<Vec<f32>>,
    /// An item of `gallery`: what is near to it.
    #[serde(default)]
    id: Option<String>,
    /// The gallery of `id`.
    #[serde(default)]
    gallery: Option<String>,
    /// The tower of the query, where several take items of its modality.
    #[serde(default)]
    from: Option<String>,
    /// The galleries to search; all if none is named.
    #[serde(default)]
    to: Option<Vec<String>>,
    /// Items of each gallery, 1 to 1000.
    #[serde(default = "ten")]
    k: usize,
    /// Only items that match, such as `price<20` or `kind = 'photo' and year >= 1990`.
    #[serde(default)]
    r#where: Option<String>,
    /// The file of a form.
    #[serde(skip)]
    file: Option<Given>,
}

fn ten() -> usize {
    10
}

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
}

/// An item.
#[derive(Serialize, ToSchema)]
struct FoundItem {
    /// 1 for the nearest.
    rank: usize,
    /// The cosine with the query, with the term against hubs where the space has one.
    score: f32,
    id: String,
    /// The text, or the path of the file.
    item: Value,
    metadata: Map<String, Value>,
    /// The place of its content on this server; null for texts.
    content: Option<String>,
}

/// Finds the nearest items.
#[utoipa::path(post, path = "/search", request_body = SearchRequest,
    responses((status = 200, body = SearchResponse), (status = "4XX", body = ErrorBody)))]
pub(super) async fn search(State(app): State<Arc<App>>, body: Whole) -> Result<Json<SearchResponse>, Refusal> {
    let mut request = match body.form().await? {
        Some(fields) => SearchRequest::of_form(&fields)?,
        None => body.parse(Whole::json)?,
    };
    let _share = body.share();
    if !(1..=MOST).contains(&request.k) {
        return Err(Refusal::invalid(format!("`k` is 1 to {MOST}, not {}", request.k)).at("k"));
    }
    let filter: Option<Filter> = match request.r#where.as_deref().map(str::trim).filter(|filter| !filter.is_empty()) {
        Some(filter) => Some(filter.parse().map_err(|error| Refusal::invalid(format!("{error}")).at("where"))?),
        None => None,
    };
    let names = match request.to.take() {
        Some(names) => names,
        None => app.galleries.keys().cloned().collect(),
    };
    if names.is_empty() {
        return Err(Refusal::absent("there is no gallery to search; start the server with --gallery DIR"));
    }
    names.iter().try_for_each(|name| app.gallery(name).map(drop)).map_err(|refusal| refusal.at("to"))?;
    let query = request.query(&app).await?;
    let k = request.k;
    working(move || {
        let one = |name: String| {
            let gallery = app.gallery(&name)?.current()?;
            let found = app.model.search_gallery(&gallery, std::slice::from_ref(&query), k, filter.as_ref())?;
            let shows = galleries::shows_files(&app, &gallery);
            let item = |(rank, hit): (usize, GalleryHit)| FoundItem {
                rank,
                score: hit.score,
                content: galleries::content_url(&name, &hit.id, &hit.item, shows),
                id: hit.id,
                item: hit.item,
                metadata: hit.metadata.into_iter().collect(),
            };
            let found = (1..).zip(found.into_iter().flatten()).map(item).collect();
            Ok(SearchResult { gallery: name, found })
        };
        Ok(Json(SearchResponse { results: names.into_iter().map(one).collect::<Result<_, Refusal>>()? }))
    })
    .await
}

impl SearchRequest {
    /// The query's embedding, with all values of the space.
    async fn query(&mut self, app: &Arc<App>) -> Result<Vec<f32>, Refusal> {
        let file = |name: &str, text: Option<String>| {
            text.map(|text| Given::file(&text, name).map_err(|refusal| refusal.at(name))).transpose()
        };
        let (image, audio) = (file("image", self.image.take())?, file("audio", self.audio.take())?);
        let items: Vec<(&str, Given)> = [
            ("text", self.text.take().map(|text| Given::text(&text))),
            ("image", image),
            ("audio", audio),
            ("file", self.file.take()),
        ]
        .into_iter()
        .filter_map(|(key, item)| Some((key, item?)))
        .collect();
        let others = usize::from(self.vector.is_some()) + usize::from(self.id.is_some());
        if items.len() + others != 1 {
            return Err(Refusal::invalid(format!(
                "a search has one query: `text`, `image`, `audio`, `vector`, or `id` with `gallery`; this has {}",
                items.len() + others
            )));
        }
        if let Some((key, item)) = items.into_iter().next() {
            return Ok(app.embed(self.from.as_deref(), vec![item], key).await?.remove(0));
        }
        let space = app.model.space();
        if let Some(mut vector) = self.vector.take() {
            // The values of the term against hubs are those of an item that is as near to others as any.
            if vector.len() == space.shared() {
                vector.resize(space.width(), 0.0);
            }
            return Ok(vector);
        }
        let (Some(id), Some(name)) = (self.id.take(), self.gallery.take()) else {
            return Err(Refusal::invalid("`id` needs the `gallery` that it is in").at("gallery"));
        };
        let app = app.clone();
        working(move || {
            let gallery = app.gallery(&name).map_err(|refusal| refusal.at("gallery"))?.current()?;
            match gallery.row_of(&id)? {
                Some(row) => Ok(gallery.vector(row)?),
                None => Err(Refusal::absent(format!("gallery `{name}` has no item with id {id:?}")).at("id")),
            }
        })
        .await
    }

    /// The request in a form: a file and the other keys.
    fn of_form(fields: &[Field]) -> Result<Self, Refusal> {
        let mut request = Self { k: ten(), ..Self::default() };
        for field in fields {
            match field.name.as_str() {
                "text" => request.text = Some(field.text()?),
                "from" => request.from = Some(field.text()?),
                "to" => request.to.get_or_insert_default().push(field.text()?),
                "where" => request.r#where = Some(field.text()?),
                "k" => {
                    let k = field.text()?.parse();
                    request.k = k.map_err(|_| Refusal::invalid("`k` is no whole number").at("k"))?;
                }
                name @ ("image" | "audio") => request.file = Some(Given::field(field, Some(name))?),
                "file" => request.file = Some(Given::field(field, None)?),
                other => {
                    return Err(Refusal::invalid(format!("a search has no field `{other}`")).at(other));
                }
            }
        }
        Ok(request)
    }
}
