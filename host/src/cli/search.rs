//! `fusemix search`: the items that are nearest to a query.

use anyhow::{Result, bail};
use serde_json::{Map, Value, json};
use std::num::NonZeroUsize;
use std::path::{Component, Path, PathBuf};

use super::exit::Invalid;
use super::lines::lines;
use super::source::Rows;
use super::{Cli, exit, foretell, print};
use crate::device::DeviceChoice;
use crate::gallery::{Filter, Gallery};
use crate::session::{Embedding, Found, GalleryHit, Model};
use crate::wording::short_path;

/// Find the items of a gallery, or of a file, that are nearest to a query.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The tower of the queries
    #[arg(long, value_name = "TOWER")]
    from: String,
    /// The gallery to search
    #[arg(long, value_name = "DIR", required_unless_present = "data", conflicts_with_all = ["data", "to", "column"])]
    gallery: Option<PathBuf>,
    /// Only the items that match, such as `price<20` or `kind = 'photo' and year >= 1990`
    #[arg(long = "where", value_name = "FILTER", conflicts_with = "data")]
    filter: Option<Filter>,
    /// The file with the items, instead of a gallery; needs --to
    #[arg(long, value_name = "FILE", requires = "to")]
    data: Option<PathBuf>,
    #[command(flatten)]
    rows: Rows,
    /// The tower of the items in --data
    #[arg(long, value_name = "TOWER")]
    to: Option<String>,
    /// The column of --data with the items [default: guessed from the header]
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// The number of items to show per query
    #[arg(short, long = "k", value_name = "K", default_value = "10", allow_negative_numbers = true)]
    #[arg(value_parser = at_least_one)]
    k: NonZeroUsize,
    /// Look at every item of a gallery, not only at those that its codes choose
    #[arg(long, conflicts_with = "data")]
    exact: bool,
    /// A file with one query per line
    #[arg(long, value_name = "FILE")]
    queries: Option<PathBuf>,
    /// Store the queries' latents in the cache
    #[arg(long)]
    cache_queries: bool,
    /// Show what would be sent and its cost, without sending anything
    #[arg(long)]
    dry_run: bool,
    /// The device to compute on: auto, cpu or wgpu; with --gallery, auto is the CPU
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
    /// The queries: texts for a text tower, files for other towers; for a precomputed one rows, FILE:ROW, or [values]
    #[arg(required_unless_present = "queries")]
    query: Vec<String>,
}

fn at_least_one(text: &str) -> Result<NonZeroUsize, &'static str> {
    text.parse().map_err(|_| "a whole number of items, 1 or more")
}

pub(super) fn run(cli: &Cli, arguments: Arguments) -> Result<u8> {
    let mut queries = arguments.query.clone();
    if let Some(file) = &arguments.queries {
        queries.extend(lines(file)?);
    }
    if queries.is_empty() {
        bail!("there are no queries: {} is empty", arguments.queries.unwrap_or_default().display());
    }
    // What is not there is told before an encoder opens, and a few queries are no work for a GPU.
    let gallery = arguments.gallery.as_deref().map(Gallery::open).transpose()?;
    let gallery = if arguments.exact { gallery.map(Gallery::exact) } else { gallery };
    let device = match arguments.device {
        DeviceChoice::Auto if gallery.is_some() => DeviceChoice::Cpu,
        device => device,
    };
    let model = cli.session.model(&arguments.run, device)?;
    arguments.rows.of_given(arguments.data.as_deref())?;
    if arguments.dry_run {
        let items = queries.iter().map(|query| model.item(&arguments.from, query)).collect::<Result<Vec<_>, _>>()?;
        let columns = match (&arguments.to, &arguments.data) {
            (Some(to), Some(data)) => {
                model.forecast_column(to, arguments.rows.of(data), arguments.column.as_deref())?
            }
            _ => Vec::new(),
        };
        return foretell::columns(cli, &columns, Some(model.forecast_items(&arguments.from, &items)?));
    }
    let words = &arguments.query;
    if words.len() > 1
        && !words.iter().any(|word| word.contains(char::is_whitespace))
        && model.modality(&arguments.from)?.as_deref() == Some("text")
    {
        let all = words.join(" ");
        note!(
            "searching for {} words one by one; for all of them as one text, put them in quotes: {all:?}",
            words.len()
        );
    }
    let embeddings = embed(&model, &arguments, &queries)?;
    let good: Vec<Vec<f32>> = embeddings.iter().flatten().cloned().collect();
    let found = match &gallery {
        Some(gallery) => in_gallery(&model, gallery, &good, &arguments)?,
        None => in_file(&model, &good, &arguments)?,
    };
    print(cli, &queries, &embeddings, found, arguments.filter.is_some());
    Ok(if good.len() == queries.len() { 0 } else { exit::SOME_FAILED })
}

fn embed(model: &Model, arguments: &Arguments, queries: &[String]) -> Result<Vec<Embedding>> {
    let (from, store) = (&arguments.from, arguments.cache_queries);
    let items = queries.iter().map(|query| model.item(from, query)).collect::<Result<Vec<_>, _>>()?;
    Ok(model.embed(from, &items, store)?)
}

/// The results of a query: lines for people, and an object for programs.
type Shown = Vec<(String, Value)>;

fn in_gallery(model: &Model, gallery: &Gallery, queries: &[Vec<f32>], arguments: &Arguments) -> Result<Vec<Shown>> {
    let shown = |(rank, GalleryHit { score, id, item, metadata }): (usize, GalleryHit)| {
        let name = item.as_str().map_or_else(|| item.to_string(), str::to_owned);
        // An id that is the item's own cell says nothing more.
        let cell: PathBuf = Path::new(&id).components().filter(|part| matches!(part, Component::Normal(_))).collect();
        let named = if name == id || Path::new(&name).ends_with(cell) { String::new() } else { format!("{id}  ") };
        let values: String = metadata.iter().map(|(column, value)| format!("  {column} = {value}")).collect();
        let line = format!("{rank:>3}  {score:>6.3}  {named}{name}{values}");
        let metadata: Map<String, Value> = metadata.into_iter().collect();
        (line, json!({"rank": rank, "score": score, "id": id, "item": item, "metadata": metadata}))
    };
    let found = model.search_gallery(gallery, queries, arguments.k.get(), arguments.filter.as_ref())?;
    Ok(found.into_iter().map(|hits| (1..).zip(hits).map(shown).collect()).collect())
}

fn in_file(model: &Model, queries: &[Vec<f32>], arguments: &Arguments) -> Result<Vec<Shown>> {
    let (Some(to), Some(data)) = (&arguments.to, &arguments.data) else {
        return Err(Invalid("--data needs --to TOWER".to_owned()).into());
    };
    let shown = |(rank, Found { score, row, item, file }): (usize, Found)| {
        let name = file.as_ref().map_or(item.clone(), |path| short_path(path).display().to_string());
        let line = format!("{rank:>3}  {score:>6.3}  {name}");
        (line, json!({"rank": rank, "score": score, "row": row + 1, "item": item, "file": file}))
    };
    let data = arguments.rows.of(data);
    let found = model.search_column(queries, to, data, arguments.column.as_deref(), arguments.k.get())?;
    Ok(found.into_iter().map(|hits| (1..).zip(hits).map(shown).collect()).collect())
}

fn print(cli: &Cli, queries: &[String], embeddings: &[Embedding], found: Vec<Shown>, filtered: bool) {
    let mut found = found.into_iter();
    let several = queries.len() > 1;
    let mut all: Vec<Value> = Vec::new();
    for (query, embedding) in queries.iter().zip(embeddings) {
        let (lines, hits): (Vec<String>, Vec<Value>) = match embedding {
            Ok(_) => found.next().unwrap_or_default().into_iter().unzip(),
            Err(_) => Default::default(),
        };
        let error = embedding.as_ref().err();
        if !cli.json && error.is_none() {
            say!("{query:?}");
        }
        match error {
            Some(reason) => note!("query {query:?} has no latent: {reason}"),
            None if lines.is_empty() && filtered => note!("nothing found: no item of the gallery passes the filter"),
            None if lines.is_empty() => note!("nothing found: there are no items"),
            None if !cli.json => lines.iter().for_each(|line| say!("{line}")),
            None => {}
        }
        all.push(match error {
            Some(reason) => json!({"query": query, "error": reason}),
            None => json!({"query": query, "found": hits}),
        });
    }
    if cli.json {
        match several {
            true => print::json(&json!({"queries": all})),
            false => print::json(&all[0]),
        }
    }
}
