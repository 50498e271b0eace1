//! Captions of COCO: images and annotations, joined by the id of the image, a row an annotation.

use serde_json::Value;
use std::collections::HashMap;

use super::draft::Draft;
use super::json::{plain, text};

/// The two lists, in whichever order they come.
#[derive(Default)]
pub(super) struct Coco {
    /// The file of each image.
    files: HashMap<String, String>,
    annotations: Vec<Annotation>,
}

struct Annotation {
    image: Option<String>,
    id: Option<String>,
    caption: Option<String>,
}

impl Coco {
    pub(super) fn add_image(&mut self, image: &Value) {
        if let (Some(id), Some(file)) = (plain(image.get("id")), text(image, "file_name")) {
            self.files.insert(id, file.to_owned());
        }
    }

    pub(super) fn add_annotation(&mut self, annotation: &Value) {
        self.annotations.push(Annotation {
            image: plain(annotation.get("image_id")),
            id: plain(annotation.get("id")),
            caption: text(annotation, "caption").map(str::to_owned),
        });
    }

    pub(super) fn has_annotations(&self) -> bool {
        !self.annotations.is_empty()
    }

    /// Adds the rows: file, caption, image_id, id.
    pub(super) fn join(self, draft: &mut Draft<'_>) {
        for (number, Annotation { image, id, caption }) in (1..).zip(self.annotations) {
            let file = image.as_ref().and_then(|image| self.files.get(image));
            let reason = match (&file, &image, &caption) {
                (_, None, _) => Some("it has no image_id".to_owned()),
                (None, Some(image), _) => Some(format!("no image has the id {image}")),
                (_, _, None) => Some("it has no caption".to_owned()),
                _ => None,
            };
            let cells =
                [("file", file), ("caption", caption.as_ref()), ("image_id", image.as_ref()), ("id", id.as_ref())];
            for (name, cell) in cells {
                draft.set(name, cell.map_or("", String::as_str));
            }
            match reason {
                Some(reason) => draft.end_broken_row(format!("annotation {number}: {reason}")),
                None => draft.end_row(),
            }
        }
    }
}
