//! Wording shared by errors of several modules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

/// A number of things: "1 item", "2 items".
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// "; did you mean `key`?" if one of `keys` is near to `wrong`, then the available keys.
pub fn suggest<'a>(wrong: &str, keys: impl IntoIterator<Item = &'a str>) -> String {
    let keys: Vec<&str> = keys.into_iter().collect();
    let nearest = keys.iter().map(|key| (strsim::damerau_levenshtein(wrong, key), *key)).min();
    // Something of a short name stays.
    let is_near =
        |distance: usize, key: &str| distance <= 2.max(wrong.len() / 4) && (distance < 2 || distance < key.len());
    let near = nearest.filter(|(distance, key)| is_near(*distance, key)).map(|(_, key)| key);
    // A name that was not written to its end, or one of its words.
    let long = keys.iter().copied().filter(|_| wrong.len() > 2);
    let meant = near
        .or_else(|| long.clone().find(|key| key.starts_with(wrong)))
        .or_else(|| long.clone().find(|key| key.split('_').any(|word| word == wrong)))
        .or_else(|| keys.iter().copied().find(|key| *key == initials(wrong)))
        .or_else(|| long.clone().filter(|key| key.len() > 3 && wrong.contains(key)).max_by_key(|key| key.len()));
    let meant = meant.map_or(String::new(), |key| format!("; did you mean `{key}`?"));
    match keys.is_empty() {
        true => "; there are none".into(),
        false => format!("{meant} (available: {})", keys.join(", ")),
    }
}

/// A text, or its first `most` characters and an ellipsis.
pub fn beginning(text: &str, most: usize) -> Cow<'_, str> {
    match text.char_indices().nth(most) {
        None => text.into(),
        Some((end, _)) => format!("{}...", &text[..end]).into(),
    }
}

/// The first letters of a name's words.
fn initials(name: &str) -> String {
    name.split('_').filter_map(|word| word.chars().next()).collect()
}

/// The parts of either that the other lacks: `["batch = 256", "batch = 512"]`.
pub fn differences(then: &BTreeMap<String, String>, now: &BTreeMap<String, String>) -> [String; 2] {
    let side = |one: &BTreeMap<String, String>, other: &BTreeMap<String, String>| {
        let changed = one.iter().filter(|(key, value)| other.get(*key) != Some(value));
        let changed: Vec<String> = changed.map(|(key, value)| format!("{key} = {value}")).collect();
        if changed.is_empty() { "nothing else".to_owned() } else { changed.join(", ") }
    };
    [side(then, now), side(now, then)]
}

/// `path` without `folder/..` where `folder` is no link.
pub fn short_path(path: &Path) -> PathBuf {
    let mut short = PathBuf::new();
    for part in path.components() {
        let is_back =
            part == Component::ParentDir && matches!(short.components().next_back(), Some(Component::Normal(_)));
        if is_back && short.symlink_metadata().is_ok_and(|folder| folder.is_dir()) {
            short.pop();
        } else {
            short.push(part);
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_path_is_the_same_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |path: &str| folder.path().join(path);
        std::fs::create_dir_all(at("a/b")).unwrap();
        assert_eq!(short_path(&at("a/b/../../c.png")), at("c.png"));
        assert_eq!(short_path(&at("a/../../x")), folder.path().parent().unwrap().join("x"));
        assert_eq!(short_path(Path::new("../x/y")), Path::new("../x/y"));
        #[cfg(unix)]
        std::os::unix::fs::symlink(at("a/b"), at("link")).unwrap();
        assert_eq!(short_path(&at("link/../c")), at("link/../c"));
    }

    #[test]
    fn what_was_meant_may_be_longer_or_shorter() {
        let keys = ["batch", "micro_batch", "lr", "epochs", "dropout"];
        let meant = |wrong| suggest(wrong, keys).split('`').nth(1).map(str::to_owned);
        for (wrong, right) in
            [("batchsize", "batch"), ("learning_rate", "lr"), ("num_epochs", "epochs"), ("droput", "dropout")]
        {
            assert_eq!(meant(wrong).as_deref(), Some(right), "{wrong}");
        }
        assert_eq!(meant("shuffle"), None);
    }

    #[test]
    fn a_difference_names_both_sides() {
        let map = |pairs: &[(&str, &str)]| pairs.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        let trained = map(&[("plugin", "candle-text"), ("pooling", "mean")]);
        let present = map(&[("plugin", "candle-text"), ("pooling", "cls")]);
        assert_eq!(differences(&trained, &present), ["pooling = mean", "pooling = cls"]);
    }
}
