//! Karpathy's JSON of COCO, Flickr30k and Flickr8k: images with their split and sentences, a row a sentence.

use serde_json::Value;

use super::draft::Draft;
use super::json::{plain, text};

/// Adds the rows of an image: file, caption, split, imgid, sentid, cocoid.
pub(super) fn add(draft: &mut Draft<'_>, image: &Value) {
    let file = text(image, "filename").map(|name| match text(image, "filepath") {
        Some(folder) => format!("{folder}/{name}"),
        None => name.to_owned(),
    });
    let sentences = image.get("sentences").and_then(Value::as_array);
    for sentence in sentences.into_iter().flatten() {
        let caption = text(sentence, "raw");
        draft.set("file", file.as_deref().unwrap_or_default());
        draft.set("caption", caption.unwrap_or_default());
        draft.set("split", text(image, "split").unwrap_or_default());
        let ids = [("imgid", image.get("imgid")), ("sentid", sentence.get("sentid")), ("cocoid", image.get("cocoid"))];
        for (name, id) in ids {
            if let Some(id) = plain(id) {
                draft.set(name, id);
            }
        }
        let of = || plain(sentence.get("sentid")).unwrap_or_else(|| "without a sentid".into());
        match (&file, caption) {
            (None, _) => draft.end_broken_row(format!("sentence {}: its image has no filename", of())),
            (_, None) => draft.end_broken_row(format!("sentence {}: it has no text in `raw`", of())),
            _ => draft.end_row(),
        }
    }
}
