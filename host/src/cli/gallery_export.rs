//! `fusemix gallery export`: a gallery for the stores that users have.

use anyhow::Result;
use serde_json::json;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use super::exit::Invalid;
use super::{Cli, output, print};
use crate::gallery::{ClipModality, Collection, Filter, Gallery, Out, Shipped, Target};
use crate::session::Error;
use crate::wording::{count, suggest};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The gallery
    gallery: PathBuf,
    /// The form: parquet, lancedb, npy, faiss, clip-retrieval, jsonl, pgvector or qdrant
    #[arg(long, value_name = "FORM")]
    to: Form,
    /// The file, or for clip-retrieval the folder, to write; `-` is the standard output, for jsonl and pgvector
    #[arg(long, value_name = "PATH")]
    out: Option<PathBuf>,
    /// Only the items that match, such as `price<20` or `kind = 'photo' and year >= 1990`
    #[arg(long = "where", value_name = "FILTER")]
    filter: Option<Filter>,
    /// The column or the key of the vectors [default: `vector`; for pgvector `embedding`]
    #[arg(long, value_name = "NAME")]
    vector_column: Option<String>,
    /// The table for pgvector [default: items]
    #[arg(long, value_name = "NAME")]
    table: Option<String>,
    /// The kind of the items for clip-retrieval: image or text [default: the tower's name, if it is one of these]
    #[arg(long, value_name = "KIND")]
    modality: Option<ClipModality>,
    /// The Qdrant server [default: http://localhost:6333]; its key comes from QDRANT_API_KEY
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The collection of Qdrant, which is made if there is none
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Form {
    Parquet,
    Lancedb,
    Npy,
    Faiss,
    ClipRetrieval,
    Jsonl,
    Pgvector,
    Qdrant,
}

impl Form {
    const ALL: [(&str, Self); 8] = [
        ("parquet", Self::Parquet),
        ("lancedb", Self::Lancedb),
        ("npy", Self::Npy),
        ("faiss", Self::Faiss),
        ("clip-retrieval", Self::ClipRetrieval),
        ("jsonl", Self::Jsonl),
        ("pgvector", Self::Pgvector),
        ("qdrant", Self::Qdrant),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, form)| *form == self).expect("all forms are listed").0
    }

    /// The ending of its file, where a reader goes by it.
    fn ending(self) -> Option<&'static str> {
        match self {
            Self::Parquet | Self::Lancedb => Some("parquet"),
            Self::Npy => Some("npy"),
            _ => None,
        }
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found.map(|(_, form)| *form).ok_or_else(|| {
            let names = Self::ALL.map(|(name, _)| name);
            format!("there is no such form{}", suggest(text, names))
        })
    }
}

impl Arguments {
    /// The options that only some forms take, as they are given.
    fn check(&self) -> Result<(), Invalid> {
        use Form::{ClipRetrieval, Jsonl, Lancedb, Parquet, Pgvector, Qdrant};
        let options: [(&str, bool, &[Form]); 5] = [
            ("--vector-column", self.vector_column.is_some(), &[Parquet, Lancedb, Jsonl, Pgvector]),
            ("--table", self.table.is_some(), &[Pgvector]),
            ("--modality", self.modality.is_some(), &[ClipRetrieval]),
            ("--url", self.url.is_some(), &[Qdrant]),
            ("--collection", self.collection.is_some(), &[Qdrant]),
        ];
        for (option, is_given, forms) in options {
            if is_given && !forms.contains(&self.to) {
                let forms = forms.iter().map(|form| form.name()).collect::<Vec<_>>().join(", ");
                return Err(Invalid(format!("{option} goes with --to {forms}, not with --to {}", self.to.name())));
            }
        }
        match (self.to == Qdrant, &self.out) {
            (true, Some(_)) => {
                Err(Invalid("--out does not go with --to qdrant: it sends, and writes nothing".to_owned()))
            }
            (false, None) => Err(Invalid(format!("--to {} writes a file: name it with --out PATH", self.to.name()))),
            _ => Ok(()),
        }
    }

    /// The path to write, which has the form's ending.
    fn path(&self) -> Result<PathBuf, Invalid> {
        let path = self.out.clone().unwrap_or_default();
        if path == Path::new("-") {
            let name = self.to.name();
            return Err(Invalid(format!("--out - goes with --to jsonl and pgvector; name a file for {name}")));
        }
        match self.to.ending() {
            Some(ending) if !path.extension().is_some_and(|has| has.eq_ignore_ascii_case(ending)) => Err(Invalid(
                format!("--out {}: a file for --to {} must end in .{ending}", path.display(), self.to.name()),
            )),
            _ => Ok(path),
        }
    }

    /// The place of text.
    fn text(&self, is_json: bool) -> Result<Out> {
        Ok(match self.out.as_deref() == Some(Path::new("-")) {
            true if is_json => Err(Invalid("--json and --out - would write to one place; name a file".to_owned()))?,
            true => Out::Pipe(Arc::new(print::output()?)),
            false => Out::File(self.path()?),
        })
    }

    fn target(&self, is_json: bool) -> Result<Target> {
        self.check()?;
        let vector = |usual: &str| self.vector_column.clone().unwrap_or_else(|| usual.to_owned());
        Ok(match self.to {
            Form::Parquet | Form::Lancedb => Target::Parquet { path: self.path()?, vector: vector("vector") },
            Form::Npy => Target::Npy { path: self.path()? },
            Form::Faiss => Target::Faiss { path: self.path()? },
            Form::ClipRetrieval => Target::ClipRetrieval { path: self.path()?, modality: self.clip_modality()? },
            Form::Jsonl => Target::Jsonl { out: self.text(is_json)?, vector: vector("vector") },
            Form::Pgvector => Target::Pgvector {
                out: self.text(is_json)?,
                table: self.table.clone().unwrap_or_else(|| "items".to_owned()),
                vector: vector("embedding"),
            },
            Form::Qdrant => Target::Qdrant(Collection {
                url: self.url.clone().unwrap_or_else(|| "http://localhost:6333".to_owned()),
                name: self.collection.clone().ok_or_else(|| {
                    Invalid("--to qdrant fills a collection: name it with --collection NAME".to_owned())
                })?,
            }),
        })
    }

    fn clip_modality(&self) -> Result<ClipModality> {
        if let Some(modality) = self.modality {
            return Ok(modality);
        }
        let tower = Gallery::open(&self.gallery)?.info().origin.tower.clone();
        Ok(tower.parse().map_err(|_| {
            Invalid(format!("tower `{tower}` does not tell what its items are; add --modality image or text"))
        })?)
    }
}

pub(super) fn run(cli: &Cli, arguments: &Arguments) -> Result<u8> {
    let target = arguments.target(cli.json)?;
    if let Some(out) = arguments.out.as_deref().filter(|out| *out != Path::new("-")) {
        output::check("--out", out, &[])?;
    }
    let shipped = match cli.session.export_gallery(&arguments.gallery, arguments.filter.as_ref(), &target) {
        // As after `head`.
        Err(Error::Export(error)) if error.is_closed_pipe() => return Ok(0),
        shipped => shipped?,
    };
    let Shipped { items, unchanged } = shipped;
    let place = match &target {
        Target::Qdrant(Collection { url, name }) => format!("{}/collections/{name}", url.trim_end_matches('/')),
        _ => arguments.out.as_deref().unwrap_or(Path::new("-")).display().to_string(),
    };
    if cli.json {
        let to = arguments.to.name();
        print::json(&json!({"gallery": arguments.gallery, "to": to, "place": place, "items": items,
            "unchanged": unchanged}));
    } else if place != "-" {
        let unchanged = match unchanged {
            0 => String::new(),
            _ => format!(", {unchanged} there already"),
        };
        say!("{place}: {}{unchanged}", count(items, "item"));
    }
    Ok(0)
}
