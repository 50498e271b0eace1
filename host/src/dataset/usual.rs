//! The usual names of columns, and of splits.

/// Columns of texts, the likeliest first.
pub(super) const TEXTS: [&str; 7] = ["text", "caption", "captions", "txt", "raw", "comment", "TEXT"];
/// Columns of captions that are taken for such even where they are the only one.
pub(super) const CAPTIONS: [&str; 3] = ["text", "caption", "captions"];
/// Columns of files.
pub(super) const FILES: [&str; 8] = ["image", "audio", "sound", "file", "path", "file_name", "image_name", "filename"];
/// Columns that tell what a row is, and which rows are meant: they are read whatever is wanted.
pub(super) const ROWS: [&str; 5] = ["key", "split", "status", "file_name", "youtube_id"];

const PICTURES: [&str; 9] = ["image", "file", "path", "jpg", "png", "webp", "image_name", "file_name", "filename"];
const SOUNDS: [&str; 9] = ["audio", "file", "path", "flac", "wav", "mp3", "ogg", "file_name", "filename"];
/// Columns of other modalities, beside the one that is called as the modality.
const OTHERS: [&str; 2] = ["file", "path"];

/// Names of splits.
pub(super) const SPLITS: [&str; 10] =
    ["train", "training", "val", "valid", "validation", "dev", "test", "testing", "eval", "development"];

/// The first of `names` that is usual for items of a modality.
pub(super) fn column<'a>(modality: &str, names: &'a [String]) -> Option<&'a str> {
    let find = |usual: &str| names.iter().find(|name| *name == usual).map(String::as_str);
    match modality {
        "text" => TEXTS.into_iter().find_map(find),
        "image" => PICTURES.into_iter().find_map(find).or_else(|| inner(&["image"], names)),
        "audio" => SOUNDS.into_iter().find_map(find).or_else(|| inner(&["audio", "sound"], names)),
        modality => find(modality).or_else(|| OTHERS.into_iter().find_map(find)),
    }
}

/// The column of files in an object of a JSON line: `image.file`.
pub(super) fn inner<'a>(objects: &[&str], names: &'a [String]) -> Option<&'a str> {
    let is_it = |name: &&String| {
        let parts = name.split_once('.');
        parts.is_some_and(|(object, key)| objects.contains(&object) && FILES.contains(&key))
    };
    names.iter().find(is_it).map(String::as_str)
}

/// True if some column is usually called so.
pub(super) fn is_usual(name: &str) -> bool {
    [&TEXTS[..], &FILES, &ROWS, &PICTURES, &SOUNDS].iter().any(|usual| usual.contains(&name))
}
