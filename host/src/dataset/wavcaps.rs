//! WavCaps: sounds with a caption each.

use serde_json::Value;
use std::collections::HashSet;
use std::path::Path;

use super::draft::Draft;
use super::json::{plain, set_all, text};

/// What the published files have in place of each sound's path.
const PLACEHOLDER: &str = "wav_path";
/// The endings that sounds are published with, the usual one first.
const ENDINGS: [&str; 3] = ["flac", "wav", "mp3"];

/// The sounds, as far as their folder is there.
pub(super) struct Sounds {
    names: HashSet<String>,
}

impl Sounds {
    /// Those in the folder `root`.
    pub(super) fn below(root: &Path) -> Self {
        let entries = std::fs::read_dir(root).into_iter().flatten().flatten();
        Self { names: entries.filter_map(|entry| entry.file_name().into_string().ok()).collect() }
    }

    /// The file of an id, which AudioSet's have with the ending of the sound that was converted.
    fn file(&self, id: &str) -> String {
        let stem = match id.rsplit_once('.') {
            Some((stem, ending)) if ENDINGS.contains(&ending) => stem,
            _ => id,
        };
        let mut names = ENDINGS.iter().map(|ending| format!("{stem}.{ending}"));
        let there = names.clone().find(|name| self.names.contains(name));
        there.or_else(|| names.next()).unwrap_or_default()
    }

    /// Adds the row of a sound: file, caption, and whatever else it has. The file is `audio`, or named as the id.
    pub(super) fn add(&self, draft: &mut Draft, sound: &Value) {
        let number = draft.rows() + 1;
        let Value::Object(object) = sound else {
            return draft.end_broken_row(format!("element {number} of `data`: this is no object"));
        };
        let audio = text(sound, "audio").filter(|audio| !["", PLACEHOLDER].contains(audio)).map(str::to_owned);
        let named = || plain(object.get("id")).filter(|id| !id.is_empty()).map(|id| self.file(&id));
        let file = audio.or_else(named);
        draft.set("file", file.as_deref().unwrap_or_default());
        draft.set("caption", text(sound, "caption").unwrap_or_default());
        let mut object = object.clone();
        object.retain(|_, value| value != PLACEHOLDER);
        set_all(draft, &object);
        match (file, text(sound, "caption")) {
            (None, _) => draft.end_broken_row(format!("element {number} of `data`: it has neither `audio` nor `id`")),
            (_, None) => draft.end_broken_row(format!("element {number} of `data`: it has no caption")),
            _ => draft.end_row(),
        }
    }
}
