//! The items of a table for an encoder, as commands name them.

use std::path::PathBuf;

#[derive(clap::Args)]
pub(super) struct Source {
    /// The table with the items: .tsv or .csv with a header
    #[arg(long, value_name = "FILE")]
    pub(super) data: PathBuf,
    /// The encoder's name in plugins.toml
    #[arg(long, value_name = "NAME")]
    pub(super) encoder: String,
    /// The column with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    pub(super) column: Option<String>,
}
