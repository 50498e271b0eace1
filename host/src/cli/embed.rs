//! `fusemix embed`: shared-space embeddings of a column as a file.

use anyhow::Result;
use serde_json::json;
use std::path::PathBuf;

use super::exit;
use super::search::column;
use super::session::Session;
use super::trained::Trained;
use crate::array_file::ArrayFile;
use crate::dataset::DataFile;
use crate::device::DeviceChoice;

/// Write the embeddings of a column: L2-normalised, rows in file order, failed rows NaN and named.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The run folder
    run: PathBuf,
    /// The tower of the items
    #[arg(long, value_name = "TOWER")]
    tower: String,
    /// The file with the items
    #[arg(long, value_name = "FILE")]
    data: PathBuf,
    /// The column with the items; needed where its name does not tell
    #[arg(long, value_name = "COL")]
    column: Option<String>,
    /// Where to: .safetensors or .npy
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Where to compute: auto, cpu or wgpu
    #[arg(long, value_name = "DEVICE", default_value_t)]
    device: DeviceChoice,
}

pub(super) fn run(session: &Session, arguments: Arguments) -> Result<u8> {
    let Arguments { run, tower, data, column: named, out, device } = arguments;
    let trained = Trained::open(&run, device)?;
    let towers = trained.towers(session);
    let tower = trained.recipe.tower(&tower)?;
    let file = DataFile::open(&data)?;
    let column = column(&trained, &towers, tower, &file, named.as_deref())?;
    let out_file = ArrayFile::create(&out)?;
    let side = towers.side(tower, &file, &column)?;
    let present: Vec<bool> = side.keys.iter().map(Option::is_some).collect();
    let failed: Vec<usize> = (1..).zip(&present).filter(|(_, present)| !**present).map(|(row, _)| row).collect();
    let (rows, width) = (present.len(), trained.fusion.width());
    let mut written = out_file.begin("embeddings", width, present)?;
    trained.fusion.embed_chunks(tower, &*side.latents, &mut |chunk| {
        chunk.chunks(width).try_for_each(|row| written.row(row).map_err(anyhow::Error::from))
    })?;
    written.finish()?;
    if session.json {
        say!("{:#}", json!({"file": out, "rows": rows, "width": width, "failed_rows": failed}));
    } else {
        say!("{}: {rows} rows of {width} values, {} failed", out.display(), failed.len());
    }
    Ok(if failed.is_empty() { 0 } else { exit::SOME_FAILED })
}
