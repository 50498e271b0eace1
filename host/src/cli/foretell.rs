//! What a command would send and cost, in words or as JSON.

use anyhow::Result;
use indicatif::HumanDuration;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

use super::wording::money;
use super::{Cli, exit, print};
use crate::dataset::Column;
use crate::encode::{Forecast, Wanted};
use crate::plugin::LoadedEncoder;
use crate::session::ColumnForecast;
use crate::wording::{count, short_path};

/// Prints the forecast of encoding a column.
pub(super) fn encoding(cli: &Cli, of: Column<'_>, encoder: &Arc<LoadedEncoder>, wanted: Wanted) -> Result<u8> {
    let Some(forecast) = cli.session.forecast(of, encoder, wanted)? else { return Ok(exit::STOPPED) };
    match cli.json {
        true => print::json(&serde_json::to_value(&forecast)?),
        false => column(cli, &forecast, wanted.max_items),
    }
    Ok(0)
}

fn column(cli: &Cli, forecast: &Forecast, max_items: Option<usize>) {
    let &Forecast { rows, distinct, cached, remembered, unreadable, items, requests, tokens, cost, seconds, .. } =
        forecast;
    say!(
        "{}, {}: {cached} cached, {remembered} failed before, {unreadable} unreadable",
        count(rows, "row"),
        count(distinct, "distinct item")
    );
    say!("{} to send in {}", count(items, "item"), count(requests, "request"));
    if tokens > 0 {
        say!("about {}", count(tokens as usize, "token"));
    }
    match cost {
        Some(cost) => say!("cost: about {}", money(cost)),
        None => say!("cost: unknown (the encoder has no price)"),
    }
    if max_items.is_some_and(|most| most < items) {
        say!("--max-items stops the run before all of them are sent");
    }
    bounded(cli, cost);
    match seconds {
        Some(seconds) => {
            say!("time: at least {} at its rate limits", HumanDuration(Duration::from_secs_f64(seconds)));
        }
        None if items == 0 => say!("time: none"),
        None => say!("time: unknown (the encoder has no rate limit)"),
    }
}

/// Prints the forecasts of several columns, and of so many queries with their cost.
pub(super) fn columns(cli: &Cli, columns: &[ColumnForecast], queries: Option<(usize, Option<f64>)>) -> Result<u8> {
    let of_columns = columns.iter().filter_map(|column| column.forecast.cost);
    let costs: Vec<f64> = of_columns.chain(queries.and_then(|(_, cost)| cost)).collect();
    let cost = (!costs.is_empty()).then(|| costs.iter().sum::<f64>());
    if cli.json {
        let queries = queries.map(|(items, cost)| json!({"items": items, "cost": cost}));
        print::json(&json!({"columns": columns, "queries": queries, "cost": cost}));
        return Ok(0);
    }
    for ColumnForecast { file, column, encoder, forecast, .. } in columns {
        let Forecast { rows, cached, unreadable, items, requests, cost, .. } = forecast;
        let unreadable = if *unreadable > 0 { format!(", {unreadable} unreadable") } else { String::new() };
        let cost = cost.map_or(String::new(), |cost| format!(", cost about {}", money(cost)));
        say!(
            "{}, column `{column}`: {encoder}: {}, {cached} cached{unreadable}, {} to send in {}{cost}",
            short_path(file).display(),
            count(*rows, "row"),
            count(*items, "item"),
            count(*requests, "request")
        );
    }
    if let Some((items, cost)) = queries {
        let cost = cost.map_or(String::new(), |cost| format!(", cost about {}", money(cost)));
        say!("queries: {} to send{cost}", count(items, "item"));
    }
    let unpriced: usize =
        columns.iter().filter(|column| column.forecast.cost.is_none()).map(|column| column.forecast.items).sum();
    let unpriced = unpriced + queries.filter(|(_, cost)| cost.is_none()).map_or(0, |(items, _)| items);
    let besides = match unpriced {
        0 => String::new(),
        items => format!(", besides {} of encoders without a price", count(items, "item")),
    };
    match cost {
        // An item that several columns hold is sent once.
        Some(cost) if columns.len() > 1 => say!("cost: at most about {}{besides}", money(cost)),
        Some(cost) => say!("cost: about {}{besides}", money(cost)),
        None if unpriced == 0 => say!("cost: none"),
        None => say!("cost: unknown (no encoder has a price)"),
    }
    bounded(cli, cost);
    Ok(0)
}

fn bounded(cli: &Cli, cost: Option<f64>) {
    if cli.max_cost.zip(cost).is_some_and(|(most, cost)| most < cost) {
        say!("--max-cost stops the run before all of them are sent");
    }
}
