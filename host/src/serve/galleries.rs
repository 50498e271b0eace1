//! What a gallery's items are: their files, and a map of the whole.

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::error::{ErrorBody, Refusal};
use super::sent::Sent;
use super::{media, working};
use crate::gallery::Gallery;
use crate::regular;
use crate::session::ITEM;

/// The largest file that is sent.
const LARGEST: u64 = 256 << 20;

/// An item.
#[derive(Deserialize, IntoParams)]
pub(super) struct Wanted {
    /// Its identifier.
    id: String,
}

/// The picture or sound of an item.
#[utoipa::path(get, path = "/galleries/{name}/content", params(("name" = String, Path), Wanted),
    responses((status = 200, content_type = "image/*"), (status = "4XX", body = ErrorBody)))]
pub(super) async fn content(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Wanted { id }): Query<Wanted>,
) -> Result<Response, Refusal> {
    working(move || {
        let gallery = app.gallery(&name)?.current()?;
        let row = gallery.row_of(&id)?;
        let row = row.ok_or_else(|| Refusal::absent(format!("gallery `{name}` has no item with id {id:?}")))?;
        let place = gallery.info().columns.iter().position(|column| column == ITEM);
        let item = place.map(|place| gallery.exhibit(row).map(|mut exhibit| exhibit.metadata.swap_remove(place)));
        let item = item.transpose()?.unwrap_or_default();
        if !shows_files(&app, &gallery) || !is_path(&item) {
            return Err(Refusal::absent(format!("item {id:?} has no file here")));
        }
        let path = std::path::Path::new(item.as_str().unwrap_or_default());
        let sent = regular::open(path, LARGEST).and_then(Sent::new).map_err(|error| {
            tracing::warn!("cannot read {}: {error}", path.display());
            Refusal::absent(format!("the file of item {id:?} cannot be read here any more"))
        })?;
        let Some(kind) = media::kind(sent.head()) else {
            return Err(Refusal::absent(format!("the file of item {id:?} is no picture or sound that pages show")));
        };
        let mut response = Body::new(sent).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, max-age=3600"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        // A drawing is shown, and runs nothing.
        let policy = HeaderValue::from_static("default-src 'none'; style-src 'unsafe-inline'; sandbox");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        Ok(response)
    })
    .await
}

/// How a map is coloured.
#[derive(Deserialize, IntoParams)]
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

/// A map of the space.
#[utoipa::path(get, path = "/galleries/{name}/map", params(("name" = String, Path), Coloured),
    responses((status = 200, body = Map), (status = "4XX", body = ErrorBody)))]
pub(super) async fn map(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    Query(Coloured { color }): Query<Coloured>,
) -> Result<Json<Map>, Refusal> {
    working(move || {
        let open = app.gallery(&name)?;
        let gallery = open.current()?;
        let place = match &color {
            None => None,
            Some(color) => {
                let columns = &gallery.info().columns;
                let place = columns.iter().position(|column| column == color);
                Some(place.ok_or_else(|| {
                    Refusal::invalid(format!("the gallery has no column `{color}` (columns: {})", columns.join(", ")))
                        .at("color")
                })?)
            }
        };
        let layout = open.layout(&gallery, app.model.space().shared())?;
        let mut map = Map {
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
        Ok(Json(map))
    })
    .await
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
