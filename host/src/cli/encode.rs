//! `fusemix encode`: fill the cache.

use anyhow::Result;

use super::source::Source;
use super::wording::line;
use super::{Cli, exit, foretell, print};
use crate::encode::{Encoding, Wanted};

/// Fill the latent cache.
#[derive(clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    source: Source,
    /// Retry the items that failed before
    #[arg(long)]
    retry_failed: bool,
    /// Show what would be sent, its cost and its duration, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// Stop after N items
    #[arg(long, value_name = "N")]
    max_items: Option<usize>,
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let table = arguments.source.table(None)?;
    let encoder = cli.session.encoder(&arguments.source.encoder)?;
    let (table, column) = arguments.source.open(cli, table, &encoder)?;
    let column = table.column(&column)?;
    let Arguments { retry_failed, max_items, .. } = arguments;
    let wanted = Wanted { retry_failed, max_items, max_cost: None, places: false };
    if arguments.dry_run {
        return foretell::encoding(cli, column, &encoder, wanted);
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
