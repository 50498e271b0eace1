//! The origin of a gallery's embeddings.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::error::GalleryError;
use crate::wording::differences;

/// The origin of embeddings; embeddings of different origins cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// A human-readable name of the run, such as its folder; a run may have several names.
    pub run: String,
    /// Digest of the run's weights, which identifies the run.
    pub digest: String,
    /// The tower that embedded the items.
    pub tower: String,
    /// The fingerprint of each of the tower's encoders, by the encoder's name.
    pub encoders: BTreeMap<String, BTreeMap<String, String>>,
}

impl Origin {
    /// Rejects `present` if its run, tower or encoders differ: such embeddings must not be added.
    pub fn verify(&self, present: &Self) -> Result<(), GalleryError> {
        self.verify_run(present)?;
        if self.tower != present.tower {
            let (stored, present) = (self.tower.clone(), present.tower.clone());
            return Err(GalleryError::OtherTower { stored, present });
        }
        if !self.encoders.keys().eq(present.encoders.keys()) {
            let (stored, present) = (self.encoder_names(), present.encoder_names());
            return Err(GalleryError::OtherEncoders { stored, present });
        }
        let changed = self.encoders.iter().find(|(name, fingerprint)| present.encoders[*name] != **fingerprint);
        changed.map_or(Ok(()), |(name, _)| {
            let [stored, present] = differences(&self.encoders[name], &present.encoders[name]);
            Err(GalleryError::OtherEncoder { encoder: name.clone(), stored, present })
        })
    }

    /// Rejects another run; a query may come from any of the run's towers.
    pub fn verify_run(&self, present: &Self) -> Result<(), GalleryError> {
        if self.digest == present.digest {
            return Ok(());
        }
        if self.run == present.run {
            return Err(GalleryError::Retrained { run: self.run.clone() });
        }
        Err(GalleryError::OtherRun { stored: self.run_name(), present: present.run_name() })
    }

    /// The run's name and the beginning of its digest: folders of the same name may hold different runs.
    pub(super) fn run_name(&self) -> String {
        let digest: String = self.digest.chars().take(12).collect();
        format!("`{}` ({digest})", self.run)
    }

    pub(super) fn encoder_names(&self) -> String {
        let names: Vec<String> = self.encoders.keys().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(run: &str, digest: &str, tower: &str, encoders: &[(&str, &str)]) -> Origin {
        let encoders = encoders.iter().map(|(name, pooling)| {
            let fingerprint = [("model", "m"), ("pooling", pooling)];
            (name.to_string(), fingerprint.map(|(key, value)| (key.to_owned(), value.to_owned())).into())
        });
        Origin { run: run.into(), digest: digest.into(), tower: tower.into(), encoders: encoders.collect() }
    }

    #[test]
    fn another_origin_is_refused_with_both_names() {
        let stored = origin("runs/a", "11", "image", &[("vit", "cls")]);
        let refused = |present: Origin, words: &[&str]| {
            let message = stored.verify(&present).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        };
        refused(origin("runs/b", "22", "image", &[("vit", "cls")]), &["`runs/a` (11)", "`runs/b` (22)"]);
        refused(origin("runs/a", "22", "image", &[("vit", "cls")]), &["runs/a was trained again", "build it again"]);
        refused(origin("runs/a", "11", "text", &[("vit", "cls")]), &["`image`", "`text`"]);
        refused(origin("runs/a", "11", "image", &[("bert", "cls")]), &["`vit`", "`bert`"]);
        refused(origin("runs/a", "11", "image", &[]), &["`vit`", "none"]);
        refused(origin("runs/a", "11", "image", &[("vit", "mean")]), &["`vit`", "pooling = cls", "pooling = mean"]);
        stored.verify(&origin("moved", "11", "image", &[("vit", "cls")])).unwrap();
        stored.verify_run(&origin("moved", "11", "text", &[("bert", "mean")])).unwrap();
        assert!(stored.verify_run(&origin("runs/a", "22", "image", &[("vit", "cls")])).is_err());
    }
}
