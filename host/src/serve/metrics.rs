//! `/metrics`: counts and times, in the text form of Prometheus.

use axum::extract::{MatchedPath, Request, State};
use axum::http::header;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::Instant;

use super::app::App;
use super::error::Refusal;

/// Upper ends of the buckets of times, in seconds.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct Answered {
    path: String,
    status: u16,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfPath {
    path: String,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct OfTower {
    tower: String,
}

/// What is counted.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<OfPath, Histogram, fn() -> Histogram>,
    items: Family<OfTower, Counter>,
    waiting: Family<OfTower, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let seconds: Family<OfPath, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let (requests, items, waiting) = (Family::default(), Family::default(), Family::default());
        let mut registry = Registry::with_prefix("fusemix");
        registry.register("requests", "Requests that were answered", Family::clone(&requests));
        registry.register("request_seconds", "Time until a request was answered", Family::clone(&seconds));
        registry.register("items", "Items that were to be embedded", Family::clone(&items));
        registry.register("waiting_items", "Items that wait for an encoder", Family::clone(&waiting));
        Self { registry, requests, seconds, items, waiting }
    }
}

impl Metrics {
    /// Counts items that a tower is to embed.
    pub(super) fn items(&self, tower: &str, count: usize) {
        self.items.get_or_create(&OfTower { tower: tower.to_owned() }).inc_by(count as u64);
    }
}

/// Counts and times a request.
pub(super) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    // A path that clients choose would be a counter that they make.
    let path = request.extensions().get::<MatchedPath>().map_or("other", MatchedPath::as_str).to_owned();
    let begin = Instant::now();
    let response = next.run(request).await;
    let Metrics { requests, seconds, .. } = &app.metrics;
    let status = response.status().as_u16();
    requests.get_or_create(&Answered { path: path.clone(), status }).inc();
    seconds.get_or_create(&OfPath { path }).observe(begin.elapsed().as_secs_f64());
    response
}

/// The counts so far.
#[utoipa::path(get, path = "/metrics", responses((status = 200, content_type = "application/openmetrics-text")))]
pub(super) async fn metrics(State(app): State<Arc<App>>) -> Result<Response, Refusal> {
    for tower in &app.towers {
        let waiting = app.metrics.waiting.get_or_create(&OfTower { tower: tower.name.clone() });
        waiting.set(tower.queue.len() as i64);
    }
    let mut text = String::new();
    encode(&mut text, &app.metrics.registry).map_err(|error| Refusal::failed(error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}
