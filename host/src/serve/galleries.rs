//! What a gallery's items are: their files, and a map of the whole.

use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fs::Metadata;
use std::sync::Arc;
use std::time::UNIX_EPOCH;
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::error::Refusal;
use super::layout::Layout;
use super::sent::Sent;
use super::{answer, media, page, working};
use crate::gallery::Gallery;
use crate::regular;
use crate::session::ITEM;

/// The largest file that is sent.
const LARGEST: u64 = 256 << 20;

/// An item.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Its identifier.
    id: String,
}

/// The picture or sound of an item.
#[utoipa::path(get, path = "/galleries/{name}/content", params(("name" = String, Path), Wanted),
    responses((status = 200, content(("image/*"), ("audio/*")))))]
pub(super) async fn content(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Wanted { id }): Query<Wanted>,
    request: HeaderMap,
) -> Result<Response, Refusal> {
    working(move || {
        let gallery = app.gallery(&name)?.current()?;
        let row = gallery.row_of(&id)?;
        let row =
            row.ok_or_else(|| Refusal::absent(format!("gallery `{name}` has no item with id {id:?}")).at("id"))?;
        let place = gallery.info().columns.iter().position(|column| column == ITEM);
        let item = place.map(|place| gallery.exhibit(row).map(|mut exhibit| exhibit.metadata.swap_remove(place)));
        let item = item.transpose()?.unwrap_or_default();
        if !shows_files(&app, &gallery) || !is_path(&item) {
            return Err(Refusal::absent(format!("item {id:?} has no file here")));
        }
        let path = std::path::Path::new(item.as_str().unwrap_or_default());
        let opened = regular::open(path, LARGEST);
        let opened = opened.and_then(|file| Ok((tag(path, &file.metadata()?), Sent::new(file)?)));
        let (tag, sent) = opened.map_err(|error| {
            tracing::warn!("cannot read {}: {error}", path.display());
            Refusal::absent(format!("the file of item {id:?} cannot be read here any more"))
        })?;
        let Some(kind) = media::kind(sent.head()) else {
            return Err(Refusal::absent(format!("the file of item {id:?} is no picture or sound that pages show")));
        };
        let mut response = match page::has(&request, &tag) {
            true => StatusCode::NOT_MODIFIED.into_response(),
            false => Body::new(sent).into_response(),
        };
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::ETAG, tag);
        // An item may be replaced by another with its id: each use asks whether the file is still this one.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A drawing is shown, and runs nothing.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    })
    .await
}

/// What a file is known by: its path, its length and its time.
fn tag(path: &std::path::Path, file: &Metadata) -> HeaderValue {
    let time = file.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    let mut hasher = blake3::Hasher::new();
    hasher.update(&file.len().to_le_bytes()).update(&time.as_nanos().to_le_bytes());
    hasher.update(path.as_os_str().as_encoded_bytes());
    let hex = hasher.finalize().to_hex();
    HeaderValue::from_str(&format!("\"{}\"", &hex[..32])).expect("hexadecimal digits in quotes")
}

/// How a map is coloured.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Coloured {
    /// A column of the gallery.
    color: Option<String>,
}

/// The items of a gallery as points in two dimensions.
#[derive(Serialize, ToSchema)]
pub(super) struct Map {
    /// `pca`: the two directions in which the embeddings differ most.
    method: &'static str,
    /// Parts of the variance.
    explained: [f64; 2],
    ids: Vec<String>,
    x: Vec<f32>,
    y: Vec<f32>,
    /// The values of the column that was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    color: Option<Vec<Value>>,
}

/// The last map of a gallery that was made.
pub(super) struct Drawn {
    of: Arc<Gallery>,
    layout: Layout,
    color: Option<String>,
    answer: Bytes,
}

/// A map of the space.
#[utoipa::path(get, path = "/galleries/{name}/map", params(("name" = String, Path), Coloured),
    responses((status = 200, body = Map)))]
pub(super) async fn map(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Coloured { color }): Query<Coloured>,
) -> Result<Response, Refusal> {
    // One map is made at a time, and no thread waits for it.
    let mut drawn = app.gallery(&name)?.drawn.clone().lock_owned().await;
    let asked = app.clone();
    let map = working(move || {
        let gallery = asked.gallery(&name)?.current()?;
        let place = color.as_deref().map(|color| place_of(&gallery, color)).transpose()?;
        let layout = match drawn.take_if(|drawn| Arc::ptr_eq(&drawn.of, &gallery)) {
            Some(known) if known.color == color => return Ok(drawn.insert(known).answer.clone()),
            Some(known) => known.layout,
            None => Layout::new(&gallery, asked.model.space().shared())?,
        };
        let answer = Bytes::from(answer::bytes(&Map::of(&gallery, &layout, place)?));
        *drawn = Some(Drawn { of: gallery, layout, color, answer: answer.clone() });
        Ok(answer)
    })
    .await?;
    let share = app.answer_share(map.len()).await?;
    Ok(answer::json(map, share))
}

impl Map {
    /// The map of a gallery by its layout, with the values of the column at this place.
    fn of(gallery: &Gallery, layout: &Layout, place: Option<usize>) -> Result<Self, Refusal> {
        let mut map = Self {
            method: "pca",
            explained: layout.explained,
            ids: Vec::with_capacity(layout.rows.len()),
            x: layout.x.clone(),
            y: layout.y.clone(),
            color: place.map(|_| Vec::with_capacity(layout.rows.len())),
        };
        for &row in &layout.rows {
            let mut exhibit = gallery.exhibit(row)?;
            map.ids.push(exhibit.id);
            if let (Some(place), Some(values)) = (place, &mut map.color) {
                values.push(exhibit.metadata.swap_remove(place));
            }
        }
        Ok(map)
    }
}

/// The place of a column.
fn place_of(gallery: &Gallery, column: &str) -> Result<usize, Refusal> {
    let columns = &gallery.info().columns;
    columns.iter().position(|own| own == column).ok_or_else(|| {
        Refusal::invalid(format!("the gallery has no column `{column}` (columns: {})", columns.join(", "))).at("color")
    })
}

/// True if the items of a gallery are files that pages show.
pub(super) fn shows_files(app: &App, gallery: &Gallery) -> bool {
    let tower = app.towers.iter().find(|tower| tower.name == gallery.info().origin.tower);
    tower.is_some_and(|tower| matches!(tower.modality.as_deref(), Some("image" | "audio")))
}

/// The place of an item's content on this server, if it has a file.
pub(super) fn content_url(gallery: &str, id: &str, item: &Value, shows_files: bool) -> Option<String> {
    let encoded =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    (shows_files && is_path(item)).then(|| format!("/galleries/{}/content?id={}", encoded(gallery), encoded(id)))
}

/// True if an item is a file of this machine, and no address.
fn is_path(item: &Value) -> bool {
    item.as_str().is_some_and(|item| !item.is_empty() && !item.contains("://"))
}
