//! A run over HTTP: embeddings in the forms of OpenAI and Cohere, search in galleries and changes of them, and a page.
//!
//! Encoders are opened once. Requests for one tower that come at the same time are encoded together: each waits in the
//! tower's queue, from which a thread takes as many items as the encoders want.

mod answer;
mod app;
mod body;
mod cohere;
mod connections;
mod embeddings;
mod error;
mod fetch;
mod figures;
mod galleries;
mod given;
mod item_key;
mod item_schema;
mod items;
mod keys;
mod layout;
mod limits;
mod media;
mod memory;
mod metrics;
mod nearest;
mod open_gallery;
mod openapi;
mod origins;
mod page;
mod patience;
mod queue;
mod scalar;
mod search;
mod sent;
mod sound;
mod status;
mod values;
mod work;

use axum::Router;
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::Response;
use axum::routing::{delete, get, post};
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use app::App;
use error::Refusal;

use crate::session::{Error, Model};
use crate::stop::Stop;

pub use connections::GRACE;
pub use fetch::Hosts;
pub use keys::Keys;
pub use limits::Limits;
pub use origins::Origins;

/// Bytes that take a while to be parsed or written.
const HEAVY: usize = 256 << 10;

/// What is served, and to whom.
#[derive(Default)]
pub struct Serving {
    /// Folders of galleries.
    pub galleries: Vec<PathBuf>,
    /// The keys, one of which a request must have.
    pub keys: Keys,
    /// The other sites whose pages may ask.
    pub origins: Origins,
    /// The hosts that files may be fetched from.
    pub hosts: Hosts,
    /// The bounds of requests.
    pub limits: Limits,
    /// True to store the latents of what is embedded in the cache.
    pub store: bool,
}

/// A server whose encoders are open.
pub struct Server {
    app: Arc<App>,
    store: bool,
}

impl Server {
    /// Opens the encoders of a run, and galleries of its embeddings.
    pub fn open(model: Model, serving: Serving) -> Result<Self, Error> {
        let store = serving.store;
        Ok(Self { app: Arc::new(App::open(model, serving)?), store })
    }

    /// The names of the galleries, with their items.
    pub fn galleries(&self) -> Result<Vec<(String, usize)>, Error> {
        self.app.galleries.iter().map(|(name, gallery)| Ok((name.clone(), gallery.current()?.len()))).collect()
    }

    /// Answers requests until somebody asks to stop, and finishes those that are under way; what takes too long then is
    /// stopped by the flag of the session's `work`.
    pub fn run(self, listener: TcpListener, stop: &Stop, work: &Stop) -> io::Result<()> {
        listener.set_nonblocking(true)?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        thread::scope(|scope| {
            for tower in &self.app.towers {
                for _ in 0..tower.calls {
                    let (queue, model) = (tower.queue.clone(), self.app.model.clone());
                    thread::Builder::new()
                        .name(format!("tower {}", tower.name))
                        .spawn_scoped(scope, move || queue.work(&model, self.store))
                        .inspect_err(|_| self.close())?;
                }
            }
            let ended = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                connections::accept(listener, router(&self.app), &self.app.limits, stop).await
            });
            self.close();
            work.ask();
            ended
        })
    }

    /// Lets the towers' threads end once nothing waits for them.
    fn close(&self) {
        self.app.towers.iter().for_each(|tower| tower.queue.close());
    }
}

fn router(app: &Arc<App>) -> Router {
    let router = Router::new()
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/embeddings", post(embeddings::embed))
        .route("/v1/models", get(status::models))
        .route("/models", get(status::models))
        // That of a tower is RUN/TOWER.
        .route("/v1/models/{*model}", get(status::model))
        .route("/models/{*model}", get(status::model))
        .route("/v2/embed", post(cohere::embed))
        .route("/search", post(search::search))
        .route("/items", post(items::add))
        // An id may have slashes in it, as paths have.
        .route("/items/{*id}", delete(items::remove))
        .route("/galleries/{name}/content", get(galleries::content))
        .route("/galleries/{name}/map", get(galleries::map))
        .route("/run/figures", get(figures::figures))
        .route("/info", get(status::info))
        .route("/health", get(status::health))
        .route("/ready", get(status::ready))
        .route("/metrics", get(metrics::metrics))
        .route("/openapi.json", get(openapi::document))
        .fallback(page::file)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(app.clone(), keys::check))
        .layer(from_fn_with_state(app.clone(), metrics::count))
        .layer(map_response(own_errors))
        .with_state(app.clone());
    match app.origins.layer() {
        Some(layer) => router.layer(layer),
        None => router,
    }
}

async fn wrong_method() -> Refusal {
    Refusal::invalid("this path is not asked with this method; /openapi.json says with which").method()
}

/// Errors of the router, such as a query that is missing, in the form of all others.
async fn own_errors(response: Response) -> Response {
    use axum::http::header::CONTENT_TYPE;
    use axum::response::IntoResponse;
    let is_json = response.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    if !(response.status().is_client_error() || response.status().is_server_error()) || is_json {
        return response;
    }
    let status = response.status();
    let words = axum::body::to_bytes(response.into_body(), 64 << 10).await.unwrap_or_default();
    Refusal::other(status, String::from_utf8_lossy(&words)).into_response()
}

/// Work on so many bytes; where there are many, it is off the threads that answer others.
fn weighed<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    if bytes < HEAVY { work() } else { tokio::task::block_in_place(work) }
}

/// Work that takes a while, off the threads that answer others.
async fn working<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!("a request failed: {error}");
        Err(Refusal::failed("the request failed; the server's log says how"))
    })
}
