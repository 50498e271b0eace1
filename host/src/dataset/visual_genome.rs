//! Visual Genome's region_descriptions.json: images with regions, a row a region.

use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

use super::draft::Draft;
use super::format;
use super::json::{plain, text};

/// The folders that the pictures come in.
pub(super) const FOLDERS: [&str; 2] = ["VG_100K", "VG_100K_2"];

/// The pictures, as far as their folders are there.
pub(super) struct Images {
    /// The names in each folder.
    folders: [HashSet<String>; 2],
}

impl Images {
    /// Those in the folders below `root`.
    pub(super) fn below(root: &Path) -> Self {
        Self { folders: FOLDERS.map(|folder| format::names(&root.join(folder))) }
    }

    /// The file of an image: in the folder that has it, or in none.
    fn file(&self, image: &str) -> String {
        let name = format!("{image}.jpg");
        let folder = FOLDERS.iter().zip(&self.folders).find(|(_, names)| names.contains(&name));
        folder.map_or(name.clone(), |(folder, _)| format!("{folder}/{name}"))
    }

    /// Adds the rows of an image: file, caption, image_id, region_id, and where the region is.
    pub(super) fn add(&self, draft: &mut Draft<'_>, image: &Value) {
        for region in image.get("regions").and_then(Value::as_array).into_iter().flatten() {
            let ids = [region.get("image_id"), image.get("image_id"), image.get("id")];
            let (of, caption) = (ids.into_iter().find_map(plain), text(region, "phrase"));
            draft.set("file", of.as_deref().map(|of| self.file(of)).unwrap_or_default());
            draft.set("caption", caption.unwrap_or_default());
            draft.set("image_id", of.as_deref().unwrap_or_default());
            for name in ["region_id", "x", "y", "width", "height"] {
                draft.set(name, plain(region.get(name)).unwrap_or_default());
            }
            let region = plain(region.get("region_id")).unwrap_or_else(|| "without an id".into());
            match (of, caption) {
                (None, _) => draft.end_broken_row(format!("region {region}: it has no image_id")),
                (_, None) => draft.end_broken_row(format!("region {region}: it has no phrase")),
                _ => draft.end_row(),
            }
        }
    }
}
