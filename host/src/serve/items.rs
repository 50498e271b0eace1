//! `POST /items` and `DELETE /items/ID`: changes of a gallery, which are on disk once they are answered.

use axum::Json;
use axum::extract::{Path, Query, State};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

use super::app::App;
use super::body::Whole;
use super::error::Refusal;
use super::given::Given;
use super::item_key::ItemKey;
use super::scalar::Scalar;
use super::working;
use crate::gallery::{Exhibit, GalleryInfo, Removal, Writer};
use crate::session::ITEM;

/// The most values in the JSON of an item beside those of its columns.
const VALUES: usize = 8;
/// The most bytes of an id: in an address, where it is three times as long, it must pass clients and proxies.
const ID: usize = 2048;

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
    /// Its identifier in the gallery, 1 to 2048 bytes.
    id: String,
    #[serde(default)]
    text: Option<String>,
    /// A data URI, base64, or a URL if the server may fetch it.
    #[serde(default)]
    image: Option<String>,
    /// A data URI, base64, or a URL if the server may fetch it.
    #[serde(default)]
    audio: Option<String>,
    /// Where a picture or sound is to be found: an http(s) URL, which is stored and not fetched; that of `image` or
    /// `audio` if they are fetched.
    #[serde(default)]
    url: Option<String>,
    /// Values of the gallery's columns: texts, numbers, true, false or null.
    #[serde(default)]
    #[schema(value_type = Object)]
    metadata: BTreeMap<String, Scalar>,
}

/// The result of adding items.
#[derive(Serialize, ToSchema)]
pub(super) struct AddResponse {
    new: usize,
    replaced: usize,
}

/// The gallery of an item.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
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
#[utoipa::path(post, path = "/items", request_body = AddRequest, responses((status = 200, body = AddResponse)))]
pub(super) async fn add(State(app): State<Arc<App>>, mut body: Whole) -> Result<Json<AddResponse>, Refusal> {
    let columns = app.clone().most_columns().await?;
    let AddRequest { gallery, items } = body.parse(|body| body.items_json(VALUES + columns))?;
    let name = app.only_gallery(gallery)?;
    let info = app.clone().info_of(name.clone()).await?;
    let mut exhibits = Vec::with_capacity(items.len());
    let mut given = Vec::with_capacity(items.len());
    let mut ids = HashSet::new();
    let key = ItemKey::List("items");
    for (index, item) in items.into_iter().enumerate() {
        let at = |refusal: Refusal| refusal.at(key.place(index));
        let problem = match item.id.len() {
            0 => Some("is empty".to_owned()),
            1..=ID => (!ids.insert(item.id.clone())).then(|| "stands twice in this request".to_owned()),
            bytes => Some(format!("has {bytes} bytes, and at most {ID} are allowed")),
        };
        // Clients take these out of an address, whatever they are written as.
        let problem =
            problem.or_else(|| matches!(&*item.id, "." | "..").then(|| format!("is {:?}; choose another", item.id)));
        if let Some(problem) = problem {
            return Err(at(Refusal::invalid(format!("the id {problem}"))));
        }
        let (exhibit, item) = item.split(&info.columns).map_err(at)?;
        exhibits.push(exhibit);
        given.push(item);
    }
    let model = format!("{}/{}", app.name, info.origin.tower);
    let mut share = body.into_share();
    // The vectors, and their bytes in the gallery.
    let vectors = 2 * size_of::<f32>() * info.width * given.len().min(app.limits.items);
    let bytes = share.bytes() + vectors;
    app.grow(&mut share, bytes).await?;
    let share = Arc::new(share);
    let vectors: Vec<f32> = app.embed(("model", Some(&model)), given, key, share.clone()).await?.concat();
    let append = move |writer: &mut Writer| {
        let _held = share;
        writer.append(&exhibits, &vectors)
    };
    let appended = app.write(&name, Some(info), append).await?;
    Ok(Json(AddResponse { new: appended.new, replaced: appended.replaced }))
}

/// Removes an item.
#[utoipa::path(delete, path = "/items/{id}", params(("id" = String, Path), Place),
    responses((status = 200, body = RemoveResponse)))]
pub(super) async fn remove(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    Query(place): Query<Place>,
) -> Result<Json<RemoveResponse>, Refusal> {
    let name = app.only_gallery(place.gallery)?;
    let wanted = id.clone();
    let Removal { removed, .. } = app.write(&name, None, move |writer| writer.remove(&[&wanted])).await?;
    match removed {
        0 => Err(Refusal::absent(format!("gallery `{name}` has no item with id {id:?}")).at("id")),
        removed => Ok(Json(RemoveResponse { removed })),
    }
}

impl NewItem {
    /// What the gallery holds of it, and what is embedded.
    fn split(self, columns: &[String]) -> Result<(Exhibit, Given), Refusal> {
        let Self { id, text, image, audio, url, mut metadata } = self;
        let shown = text.as_deref().map_or(Value::Null, Value::from);
        let Some((_, given)) = Given::one_of(text, image, audio)? else {
            return Err(Refusal::invalid("an item has one of `text`, `image` and `audio`"));
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
            column => metadata.remove(column).unwrap_or_default().0,
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
            (None, Some(_), Some(_)) => {
                let all: Vec<String> = self.galleries.keys().map(|name| format!("`{name}`")).collect();
                Err(Refusal::invalid(format!(
                    "several galleries are open: say which, as `gallery` of the body or, to remove an item, in the \
                     address as `?gallery=NAME` ({})",
                    all.join(", ")
                ))
                .at("gallery"))
            }
        }
    }

    /// The description of a gallery as it is now, which must be one of this run's embeddings.
    async fn info_of(self: Arc<Self>, name: String) -> Result<GalleryInfo, Refusal> {
        working(move || {
            let gallery = self.gallery(&name)?.current()?;
            self.model.check_origin(gallery.info())?;
            Ok(gallery.info().clone())
        })
        .await
    }

    /// Columns of the gallery that has most.
    async fn most_columns(self: Arc<Self>) -> Result<usize, Refusal> {
        working(move || {
            let galleries = self.galleries.values().filter_map(|gallery| gallery.current().ok());
            Ok(galleries.map(|gallery| gallery.info().columns.len()).max().unwrap_or(0))
        })
        .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_gallery_cannot_hold_is_refused_before_it_is_parsed() {
        // A list of 262,000 objects is many times its text in memory.
        let list = vec!["{\"a\":0}"; 262_000].join(",");
        let json = format!(r#"{{"items": [{{"id": "a", "text": "w1", "metadata": {{"caption": [{list}]}}}}]}}"#);
        let error = serde_json::from_str::<AddRequest>(&json).err().unwrap();
        assert!(error.to_string().contains("expected text, a number, true, false or null"), "{error}");
        assert!(error.column() < 100, "at its beginning");
    }

    #[test]
    fn an_item_has_values_for_its_columns_or_null() {
        let json = r#"{"id": "a", "text": "w1", "metadata": {"price": 3.5}}"#;
        let columns = ["price", ITEM, "kind"].map(str::to_owned);
        let (exhibit, given) = serde_json::from_str::<NewItem>(json).unwrap().split(&columns).unwrap();
        assert_eq!(exhibit.metadata, [Value::from(3.5), "w1".into(), Value::Null]);
        assert_eq!(given, Given::text("w1"));
        assert!(serde_json::from_str::<NewItem>(json).unwrap().split(&[]).is_err());
    }
}
