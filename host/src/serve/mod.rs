//! A run over HTTP: embeddings in the forms of OpenAI and Cohere, search in galleries and changes of them, and a page.
//!
//! Encoders are opened once. Requests for one tower that come at the same time are encoded together: each waits in the
//! tower's queue, from which a thread takes as many items as the encoders want.

mod app;
mod body;
mod cohere;
mod connections;
mod embeddings;
mod error;
mod figures;
mod galleries;
mod given;
mod items;
mod keys;
mod layout;
mod limits;
mod media;
mod metrics;
mod openapi;
mod page;
mod queue;
mod search;
mod status;

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

pub use keys::Keys;
pub use limits::Limits;

/// What is served, and to whom.
#[derive(Default)]
pub struct Serving {
    /// Folders of galleries.
    pub galleries: Vec<PathBuf>,
    /// The keys, one of which a request must have.
    pub keys: Keys,
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
                let (queue, model) = (tower.queue.clone(), self.app.model.clone());
                thread::Builder::new()
                    .name(format!("tower {}", tower.name))
                    .spawn_scoped(scope, move || queue.work(&model, self.store))?;
            }
            let ended = runtime.block_on(async {
                let listener = tokio::net::TcpListener::from_std(listener)?;
                connections::accept(listener, router(&self.app), &self.app.limits, stop).await
            });
            self.app.towers.iter().for_each(|tower| tower.queue.close());
            work.ask();
            ended
        })
    }
}

fn router(app: &Arc<App>) -> Router {
    Router::new()
        .route("/v1/embeddings", post(embeddings::embed))
        .route("/embeddings", post(embeddings::embed))
        .route("/v1/models", get(status::models))
        .route("/models", get(status::models))
        .route("/v2/embed", post(cohere::embed))
        .route("/search", post(search::search))
        .route("/items", post(items::add))
        .route("/items/{id}", delete(items::remove))
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
        .with_state(app.clone())
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

/// Work that takes a while, off the threads that answer others.
async fn working<T: Send + 'static>(work: impl FnOnce() -> Result<T, Refusal> + Send + 'static) -> Result<T, Refusal> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        tracing::error!("a request failed: {error}");
        Err(Refusal::failed("the request failed; the server's log says how"))
    })
}
