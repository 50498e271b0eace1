//! `/run/figures`: how well the run finds its test pairs, and its curves.

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use utoipa::ToSchema;

use super::app::App;
use super::error::Refusal;
use super::working;
use crate::eval::Retrieval;
use crate::session::{Error, Model};

/// The figures of the run.
#[derive(Clone, Serialize, ToSchema)]
pub(super) struct Figures {
    /// On the recipe's test pairs, in both directions.
    retrieval: Vec<Direction>,
    /// The reason why there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// Null for closed forms.
    curves: Option<Curves>,
}

/// Retrieval in one direction.
#[derive(Clone, Serialize, ToSchema)]
struct Direction {
    from: String,
    to: String,
    queries: usize,
    /// Items that are searched.
    candidates: usize,
    /// The part of the queries with a match among the first k, by k.
    recall: BTreeMap<String, f64>,
    /// The same in random order.
    chance: BTreeMap<String, f64>,
    median_rank: f64,
}

/// Values by epoch.
#[derive(Clone, Serialize, ToSchema)]
struct Curves {
    epoch: Vec<usize>,
    loss: Vec<Option<f64>>,
    /// The mean of R@1, R@5 and R@10 on validation pairs.
    validation: Vec<Option<f64>>,
}

/// How well the run finds its test pairs, and its curves.
#[utoipa::path(get, path = "/run/figures", responses((status = 200, body = Figures)))]
pub(super) async fn figures(State(app): State<Arc<App>>) -> Result<Json<Figures>, Refusal> {
    // One evaluation is made, and goes on if the client goes; others wait for it.
    let mut known = app.figures.clone().lock_owned().await;
    if let Some(known) = &*known {
        return Ok(Json(known.clone()));
    }
    working(move || {
        let figures = Figures::of(&app.model)?;
        // What stood in the way may be gone next time.
        if figures.reason.is_none() {
            *known = Some(figures.clone());
        }
        Ok(Json(figures))
    })
    .await
}

impl Figures {
    fn of(model: &Model) -> Result<Self, Error> {
        let by_epoch = model.metrics()?;
        let mut curves = Curves { epoch: Vec::new(), loss: Vec::new(), validation: Vec::new() };
        for (epoch, [loss, recall]) in by_epoch {
            curves.epoch.push(epoch);
            curves.loss.push(loss);
            curves.validation.push(recall.map(|recall| recall / 100.0));
        }
        let curves = (!curves.epoch.is_empty()).then_some(curves);
        // Nobody who opens a page asks for items to be paid for.
        let evaluation = if model.has_price()? {
            Err("an encoder of this run has a price; `fusemix eval` evaluates it".to_owned())
        } else {
            model.evaluate(None, NonZeroUsize::MIN).map_err(|error| error.to_string())
        };
        Ok(match evaluation {
            Ok(evaluation) => Self {
                retrieval: evaluation.retrieval.into_iter().map(Direction::from).collect(),
                reason: None,
                curves,
            },
            Err(reason) => Self { retrieval: Vec::new(), reason: Some(reason), curves },
        })
    }
}

impl From<Retrieval> for Direction {
    fn from(found: Retrieval) -> Self {
        let parts =
            |of: BTreeMap<usize, f64>| of.into_iter().map(|(k, value)| (k.to_string(), value / 100.0)).collect();
        Self {
            from: found.from,
            to: found.to,
            queries: found.queries,
            candidates: found.gallery,
            recall: parts(found.recall),
            chance: parts(found.chance),
            median_rank: found.median_rank,
        }
    }
}
