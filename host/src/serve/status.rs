//! What the server is: `/health`, `/ready`, `/info` and `/v1/models`.

use axum::Json;
use axum::extract::{Path, State};
use serde::Serialize;
use serde_json::{Value, json};
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::error::Refusal;
use super::working;

/// Whether the server is there.
#[utoipa::path(get, path = "/health", responses((status = 200)))]
pub(super) async fn health() -> Json<Value> {
    Json(json!({"status": "ok"}))
}

/// Whether the encoders are open; what is asked before is answered once they are.
#[utoipa::path(get, path = "/ready", responses((status = 200)))]
pub(super) async fn ready() -> Json<Value> {
    Json(json!({"status": "ready"}))
}

/// What is served.
#[derive(Serialize, ToSchema)]
pub(super) struct Info {
    /// The run.
    run: String,
    /// The version of this program.
    version: &'static str,
    /// Values of an embedding of `/v1/embeddings`.
    width: usize,
    /// The method that fitted the space.
    method: String,
    towers: Vec<TowerOf>,
    galleries: Vec<GalleryOf>,
}

/// A tower.
#[derive(Serialize, ToSchema)]
struct TowerOf {
    name: String,
    /// `text`, `image`, `audio` or another; null if its latents were precomputed.
    modality: Option<String>,
    /// Its encoders.
    encoders: Vec<String>,
    /// What makes the latents of each comparable.
    fingerprints: Vec<Value>,
}

/// A gallery.
#[derive(Serialize, ToSchema)]
struct GalleryOf {
    name: String,
    tower: String,
    modality: Option<String>,
    /// Items when it could last be opened.
    items: usize,
    /// Why it cannot be searched now.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    columns: Vec<String>,
    /// How its vectors are stored.
    dtype: &'static str,
}

/// The run, its towers and galleries.
#[utoipa::path(get, path = "/info", responses((status = 200, body = Info)))]
pub(super) async fn info(State(app): State<Arc<App>>) -> Result<Json<Info>, Refusal> {
    working(move || {
        let info = app.model.info();
        let towers = app.towers.iter().zip(&info.towers).map(|(tower, info)| TowerOf {
            name: tower.name.clone(),
            modality: tower.modality.clone(),
            encoders: info.encoders.iter().map(|encoder| encoder.name.clone()).collect(),
            fingerprints: info.encoders.iter().map(|encoder| json!(encoder.fingerprint)).collect(),
        });
        let galleries = app.galleries.iter().map(|(name, open)| {
            let (gallery, problem) = match open.current() {
                Ok(gallery) => (gallery, None),
                Err(error) => (open.last(), Some(error.to_string())),
            };
            let of = gallery.info();
            let tower = app.towers.iter().find(|tower| tower.name == of.origin.tower);
            GalleryOf {
                name: name.clone(),
                tower: of.origin.tower.clone(),
                modality: tower.and_then(|tower| tower.modality.clone()),
                items: gallery.len(),
                problem,
                columns: of.columns.clone(),
                dtype: of.dtype.name(),
            }
        });
        Ok(Json(Info {
            run: app.name.clone(),
            version: env!("CARGO_PKG_VERSION"),
            width: app.model.space().shared(),
            method: info.method.name().to_owned(),
            towers: towers.collect(),
            galleries: galleries.collect(),
        }))
    })
    .await
}

/// The models that `model` can name.
#[utoipa::path(get, path = "/v1/models", responses((status = 200)))]
pub(super) async fn models(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({"object": "list", "data": models_of(&app).collect::<Vec<_>>()}))
}

/// A model.
#[utoipa::path(get, path = "/v1/models/{model}", params(("model" = String, Path)), responses((status = 200)))]
pub(super) async fn model(State(app): State<Arc<App>>, Path(name): Path<String>) -> Result<Json<Value>, Refusal> {
    let whole = format!("{}/{name}", app.name);
    match models_of(&app).find(|model| model["id"] == name.as_str() || model["id"] == whole.as_str()) {
        Some(model) => Ok(Json(model)),
        None => Err(Refusal::absent(format!("no model {name:?} here; /v1/models lists them")).at("model")),
    }
}

fn models_of(app: &App) -> impl Iterator<Item = Value> {
    let of_towers = app.towers.iter().map(|tower| {
        let capability = tower.modality.as_deref().unwrap_or("text");
        (format!("{}/{}", app.name, tower.name), vec![capability])
    });
    let all = app.towers.iter().filter_map(|tower| tower.modality.as_deref()).collect();
    let models = std::iter::once((app.name.clone(), all)).chain(of_towers);
    models.map(|(id, capabilities)| {
        json!({"id": id, "object": "model", "created": 0, "owned_by": "fusemix", "capabilities": capabilities})
    })
}
