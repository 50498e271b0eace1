//! Latents that a query gives itself, for towers without an encoder.

use std::path::Path;

use super::Session;
use crate::config::LatentRows;
use crate::dataset::{Item, NamedLatents, may_hold_latents};
use crate::encode::Latent;
use crate::latents::Latents;

/// The latent that a query of a precomputed tower of this width gives: its values as a list, the name of a row of the
/// tower's own file, or a row of another file as `FILE:ROW`, which `files` opens where queries may name files.
pub(super) fn given_latent(
    files: Option<&Session>,
    named: Option<&NamedLatents>,
    item: &Item<'_>,
    width: usize,
) -> Latent {
    let word = item.clone().read()?;
    let word = String::from_utf8_lossy(&word);
    let mut latent = vec![0.0; width];
    if word.trim_start().starts_with('[') {
        latent = serde_json::from_str(&word).map_err(|error| format!("not a list of numbers: {error}"))?;
    } else if let Some(session) = files
        && let Some((file, row)) = word.rsplit_once(':').filter(|(file, _)| may_hold_latents(Path::new(file)))
    {
        // By number, whatever ids it has.
        let rows = LatentRows { file: file.into(), tensor: None, ids: None, id: String::new() };
        let file = session.named_latents(&rows).map_err(|error| error.to_string())?;
        let row = file.row(row.as_bytes())?;
        latent.resize(file.latents().width(), 0.0);
        file.latents().copy_row(row, &mut latent);
    } else if files.is_some() && may_hold_latents(Path::new(&*word)) && Path::new(&*word).exists() {
        return Err(format!("which row of the file? Name it as {word}:ROW, from 0 on"));
    } else if let Some(named) = named {
        named.latents().copy_row(named.row(word.as_bytes())?, &mut latent);
    } else if files.is_none() {
        return Err("the tower is precomputed: give the values as [0.1, ...]".into());
    } else {
        return Err(
            "the tower is precomputed: give a row of a file as FILE.npy:ROW, or the values as [0.1, ...]".into()
        );
    }
    match latent.iter().all(|value| value.is_finite()) {
        _ if latent.len() != width => Err(format!("it has {} values, and the tower takes {width}", latent.len())),
        true => Ok(latent),
        false => Err("it has values that are not finite".into()),
    }
}
