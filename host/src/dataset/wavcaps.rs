//! WavCaps: sounds with a caption each.

use serde_json::Value;

use super::draft::Draft;
use super::json::{plain, set_all, text};

/// Adds the row of a sound: file, caption, and whatever else it has. The file is `audio`, or named as the id.
pub(super) fn add(draft: &mut Draft, sound: &Value) {
    let number = draft.rows() + 1;
    let Value::Object(object) = sound else {
        return draft.end_broken_row(format!("element {number} of `data`: this is no object"));
    };
    let named = plain(object.get("id")).filter(|id| !id.is_empty()).map(|id| match id.rsplit_once('.') {
        Some((_, ending)) if (2..=4).contains(&ending.len()) => id,
        _ => id + ".flac",
    });
    let file = text(sound, "audio").map(str::to_owned).or(named);
    draft.set("file", file.as_deref().unwrap_or_default());
    draft.set("caption", text(sound, "caption").unwrap_or_default());
    set_all(draft, object);
    match (file, text(sound, "caption")) {
        (None, _) => draft.end_broken_row(format!("element {number} of `data`: it has neither `audio` nor `id`")),
        (_, None) => draft.end_broken_row(format!("element {number} of `data`: it has no caption")),
        _ => draft.end_row(),
    }
}
