//! `fusemix encode`: fill the cache.

use anyhow::Result;
use indicatif::HumanDuration;
use std::path::PathBuf;
use std::time::Duration;

use super::wording::{line, money};
use super::{Cli, exit, print};
use crate::dataset::read_table;
use crate::encode::{Encoding, Forecast, Wanted};
use crate::wording::count;

/// Fill the latent cache.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The table with the items: .tsv or .csv with a header
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The encoder's name in plugins.toml
    #[arg(long, value_name = "NAME")]
    encoder: String,
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// Retry the items that failed before
    #[arg(long)]
    retry_failed: bool,
    /// Show what would be sent, its cost and its duration, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// Stop after N items
    #[arg(long, value_name = "N")]
    max_items: Option<usize>,
    /// Stop before the cost exceeds COST, by the encoder's price in plugins.toml
    #[arg(long, value_name = "COST", value_parser = cost)]
    max_cost: Option<f64>,
}

fn cost(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|cost| (0.0..f64::INFINITY).contains(cost))
        .ok_or_else(|| "not an amount of money".to_owned())
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let table = read_table(&arguments.data)?;
    let encoder = cli.session.encoder(&arguments.encoder)?;
    let column = cli.session.column(&table, arguments.column.as_deref(), &encoder)?;
    let Arguments { retry_failed, max_items, max_cost, .. } = arguments;
    let wanted = Wanted { retry_failed, max_items, max_cost, places: false };
    if arguments.dry_run {
        let Some(forecast) = cli.session.forecast(column, &encoder, wanted)? else { return Ok(exit::STOPPED) };
        match cli.json {
            true => print::json(&serde_json::to_value(&forecast)?),
            false => foretell(&forecast, &arguments),
        }
        return Ok(0);
    }
    let Encoding { summary, error, .. } = cli.session.encode(column, &encoder, wanted)?;
    match cli.json {
        true => print::json(&serde_json::to_value(&summary)?),
        false => say!("{}", line(&encoder.name, &summary)),
    }
    match error {
        Some(error) => Err(error.into()),
        None => Ok(exit::summary(&summary)),
    }
}

/// Prints what an encoding would come to.
fn foretell(forecast: &Forecast, arguments: &Arguments) {
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
    if arguments.max_items.is_some_and(|most| most < items) {
        say!("--max-items stops the run before all of them are sent");
    }
    if arguments.max_cost.zip(cost).is_some_and(|(most, cost)| most < cost) {
        say!("--max-cost stops the run before all of them are sent");
    }
    match seconds {
        Some(seconds) => {
            say!("time: at least {} at its rate limits", HumanDuration(Duration::from_secs_f64(seconds)));
        }
        None if items == 0 => say!("time: none"),
        None => say!("time: unknown (the encoder has no rate limit)"),
    }
}
