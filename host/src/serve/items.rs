//! `POST /items` and `DELETE /items/ID`: changes of a gallery, which are on disk once they are answered.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Handle;
use utoipa::{IntoParams, ToSchema};

use super::app::{App, OpenWriter};
use super::body::Whole;
use super::error::{ErrorBody, Refusal};
use super::given::Given;
use super::working;
use crate::file_lock::PAUSE;
use crate::gallery::{Exhibit, GalleryError, Removal, Writer};
use crate::session::ITEM;

/// The most values in the JSON of an item, with those of its columns.
const VALUES: usize = 256;
/// The wait before a writer that nobody uses is given up, so that other programs may write.
const IDLE: Duration = Duration::from_millis(500);
/// The longest that a writer is open with changes that come all the time; less than other programs wait.
const HOLD: Duration = Duration::from_secs(1);
/// The time that other programs then have, which ask again after each `PAUSE`.
const GAP: Duration = Duration::from_millis(5 * PAUSE.as_millis() as u64);
/// The wait for another program that writes.
const WAIT: Duration = Duration::from_secs(5);

/// Items to add, or to put in the place of others with the same ids.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct AddRequest {
    /// The gallery; the only one if none is named.
    #[serde(default)]
    gallery: Option<String>,
    items: Vec<NewItem>,
}

/// An item: one of `text`, `image` and `audio`.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewItem {
    /// Its identifier in the gallery.
    id: String,
    #[serde(default)]
    text: Option<String>,
    /// A data URI, or base64.
    #[serde(default)]
    image: Option<String>,
    /// A data URI, or base64.
    #[serde(default)]
    audio: Option<String>,
    /// Where a picture or sound is to be found: an http(s) URL, which is stored and not fetched; that of `image` or
    /// `audio` if they are fetched.
    #[serde(default)]
    url: Option<String>,
    /// Values of the gallery's columns.
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// The result of adding items.
#[derive(Serialize, ToSchema)]
pub(super) struct AddResponse {
    new: usize,
    replaced: usize,
}

/// The gallery of an item.
#[derive(Deserialize, IntoParams)]
pub(super) struct Place {
    /// The gallery; the only one if none is named.
    gallery: Option<String>,
}

/// The result of removing items.
#[derive(Serialize, ToSchema)]
pub(super) struct RemoveResponse {
    removed: usize,
}

/// Adds items.
#[utoipa::path(post, path = "/items", request_body = AddRequest,
    responses((status = 200, body = AddResponse), (status = "4XX", body = ErrorBody)))]
pub(super) async fn add(State(app): State<Arc<App>>, body: Whole) -> Result<Json<AddResponse>, Refusal> {
    let AddRequest { gallery, items } = body.parse(|body| body.items_json(VALUES))?;
    let share = body.share();
    let name = app.only_gallery(gallery)?;
    let info = app.gallery(&name)?.current()?.info().clone();
    let mut exhibits = Vec::with_capacity(items.len());
    let mut given = Vec::with_capacity(items.len());
    let mut ids = HashSet::new();
    for (index, item) in items.into_iter().enumerate() {
        let at = |refusal: Refusal| refusal.or_at(format!("items[{index}]"));
        if item.id.is_empty() || !ids.insert(item.id.clone()) {
            let what = if item.id.is_empty() { "is empty" } else { "stands twice in this request" };
            return Err(at(Refusal::invalid(format!("the id {what}"))));
        }
        let (exhibit, item) = item.split(&info.columns).map_err(at)?;
        exhibits.push(exhibit);
        given.push(item);
    }
    let model = format!("{}/{}", app.name, info.origin.tower);
    let vectors: Vec<f32> = app.embed(Some(&model), given, "items", &share).await?.concat();
    let appended = app.write(&name, move |writer| writer.append(&exhibits, &vectors)).await?;
    Ok(Json(AddResponse { new: appended.new, replaced: appended.replaced }))
}

/// Removes an item.
#[utoipa::path(delete, path = "/items/{id}", params(("id" = String, Path), Place),
    responses((status = 200, body = RemoveResponse), (status = "4XX", body = ErrorBody)))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Json<RemoveResponse>, Refusal> {
    let name = app.only_gallery(place.gallery)?;
    let wanted = id.clone();
    let Removal { removed, .. } = app.write(&name, move |writer| writer.remove(&[&wanted])).await?;
    match removed {
        0 => Err(Refusal::absent(format!("gallery `{name}` has no item with id {id:?}"))),
        removed => Ok(Json(RemoveResponse { removed })),
    }
}

impl NewItem {
    /// What the gallery holds of it, and what is embedded.
    fn split(self, columns: &[String]) -> Result<(Exhibit, Given), Refusal> {
        let Self { id, text, image, audio, url, mut metadata } = self;
        let (shown, given) = match (text, image, audio) {
            (Some(text), None, None) => (Value::from(text.as_str()), Given::text(&text)),
            (None, Some(file), None) => (Value::Null, Given::file(&file, "image")?),
            (None, None, Some(file)) => (Value::Null, Given::file(&file, "audio")?),
            _ => return Err(Refusal::invalid("an item has one of `text`, `image` and `audio`")),
        };
        let shown = match url.or_else(|| given.url.clone()) {
            Some(_) if !shown.is_null() => {
                return Err(Refusal::invalid(
                    "`url` says where a picture or sound is to be found; leave it out of a text",
                ));
            }
            // What is a path of this machine comes from its own tables alone.
            Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
                return Err(Refusal::invalid("`url` begins with http:// or https://"));
            }
            Some(url) => url.into(),
            None => shown,
        };
        let value = |column: &String| match column.as_str() {
            ITEM => shown.clone(),
            column => metadata.remove(column).unwrap_or_default(),
        };
        let exhibit = Exhibit { id, metadata: columns.iter().map(value).collect() };
        match metadata.into_iter().next() {
            None => Ok((exhibit, given)),
            Some((column, _)) => {
                let own: Vec<&str> = columns.iter().map(String::as_str).filter(|column| *column != ITEM).collect();
                let own = if own.is_empty() { "it has none".to_owned() } else { own.join(", ") };
                Err(Refusal::invalid(format!("the gallery has no column `{column}` (columns: {own})")))
            }
        }
    }
}

impl App {
    /// The named gallery, or the only one.
    fn only_gallery(&self, named: Option<String>) -> Result<String, Refusal> {
        let mut names = self.galleries.keys();
        match (named, names.next(), names.next()) {
            (Some(name), ..) => self.gallery(&name).map(|_| name).map_err(|refusal| refusal.at("gallery")),
            (None, Some(name), None) => Ok(name.clone()),
            (None, None, _) => Err(Refusal::absent("there is no gallery; start the server with --gallery DIR")),
            (None, Some(_), Some(_)) => Err(Refusal::invalid("several galleries are open: name one").at("gallery")),
        }
    }

    /// Changes a gallery; one after the other, each synced to the disk.
    async fn write<T: Send + 'static>(
        self: &Arc<Self>,
        name: &str,
        change: impl FnOnce(&mut Writer) -> Result<T, GalleryError> + Send + 'static,
    ) -> Result<T, Refusal> {
        let (app, name) = (self.clone(), name.to_owned());
        working(move || {
            let gallery = app.gallery(&name)?;
            // However this ends, and whether or not the client is still there.
            let _use = Use { app: &app, name: &name };
            let mut held = gallery.writer.lock().unwrap_or_else(|poisoned| {
                gallery.writer.clear_poison();
                let mut held = poisoned.into_inner();
                *held = None;
                held
            });
            if held.as_ref().is_some_and(|held| held.since.elapsed() >= HOLD) {
                *held = None;
                std::thread::sleep(GAP);
            }
            if held.is_none() {
                let writer = patiently(|| Writer::open(&gallery.folder))?;
                *held = Some(OpenWriter { writer, since: Instant::now() });
            }
            let changed = change(&mut held.as_mut().expect("it was opened").writer);
            // What a failed change has left is found out by opening anew.
            if changed.is_err() {
                *held = None;
            }
            Ok(changed?)
        })
        .await
    }
}

/// A use of a gallery's writer, which is given up some time after its end unless it is used again.
struct Use<'a> {
    app: &'a Arc<App>,
    name: &'a str,
}

impl Drop for Use<'_> {
    fn drop(&mut self) {
        let (app, name) = (self.app.clone(), self.name.to_owned());
        app.galleries[&name].used();
        Handle::current().spawn(async move {
            tokio::time::sleep(IDLE).await;
            app.galleries[&name].give_up(IDLE);
        });
    }
}

/// Opens what another program writes, once that has ended.
fn patiently(open: impl Fn() -> Result<Writer, GalleryError>) -> Result<Writer, GalleryError> {
    let begin = Instant::now();
    loop {
        match open() {
            Err(GalleryError::InUse { .. }) if begin.elapsed() < WAIT => std::thread::sleep(Duration::from_millis(50)),
            opened => return opened,
        }
    }
}
