//! The scaffold of a new plugin, which builds and passes its test but has no model yet.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// An error in creating a plugin.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs, reason = "the messages say it")]
pub enum ScaffoldError {
    #[error("`{name}` cannot be a plugin's name: use lower-case letters, digits, `-` and `_`, beginning with a letter")]
    Name { name: String },
    #[error("`{name}` is a word of Rust, so no plugin can have it as its name; choose another")]
    Word { name: String },
    #[error("`{modality}` cannot be a modality: use lower-case letters, digits, `-` and `_`, beginning with a letter")]
    Modality { modality: String },
    #[error("{} is already there; choose another name, or remove it", path.display())]
    Exists { path: PathBuf },
    #[error("cannot write {}: {cause}; check the folder's permissions and the free space on its disk", path.display())]
    Write { path: PathBuf, cause: io::Error },
}

/// The names that Cargo refuses or that would hide a crate of the language.
const WORDS: [&str; 58] = [
    "abstract",
    "alloc",
    "as",
    "async",
    "await",
    "become",
    "box",
    "break",
    "const",
    "continue",
    "core",
    "crate",
    "do",
    "dyn",
    "else",
    "enum",
    "extern",
    "false",
    "final",
    "fn",
    "for",
    "gen",
    "if",
    "impl",
    "in",
    "let",
    "loop",
    "macro",
    "match",
    "mod",
    "move",
    "mut",
    "override",
    "priv",
    "proc-macro",
    "proc_macro",
    "pub",
    "ref",
    "return",
    "self",
    "static",
    "std",
    "struct",
    "super",
    "test",
    "trait",
    "true",
    "try",
    "type",
    "typeof",
    "union",
    "unsafe",
    "unsized",
    "use",
    "virtual",
    "where",
    "while",
    "yield",
];

/// Writes a plugin called `name` for items of `modality` into a new folder of that name in `parent`; returns the
/// folder.
pub fn scaffold(parent: &Path, name: &str, modality: &str) -> Result<PathBuf, ScaffoldError> {
    if !is_name(name) {
        return Err(ScaffoldError::Name { name: name.to_owned() });
    }
    if WORDS.contains(&name) {
        return Err(ScaffoldError::Word { name: name.to_owned() });
    }
    if !is_name(modality) {
        return Err(ScaffoldError::Modality { modality: modality.to_owned() });
    }
    let folder = parent.join(name);
    if folder.exists() {
        return Err(ScaffoldError::Exists { path: folder });
    }
    let manifest = include_str!("template/manifest.toml").replace("{name}", name).replace("{sdk}", &sdk());
    let (check, samples) = of_modality(modality);
    let (kind, items) = match modality {
        "text" | "image" | "audio" => ("", ""),
        _ => (
            "ItemKind, ",
            "\n            // A cell holds the item itself; `ItemKind::File` if it names a file.\n            \
             .items(ItemKind::Text)",
        ),
    };
    let library = [("{name}", name), ("{modality}", modality), ("{Type}", &type_name(name))]
        .into_iter()
        .chain([("{check}", check), ("{samples}", samples), ("{kind}", kind), ("{items}", items)])
        .fold(include_str!("template/lib.rs").to_owned(), |text, (place, words)| text.replace(place, words));
    let files = [("Cargo.toml", manifest), (".gitignore", "/target\n".to_owned()), ("src/lib.rs", library)];
    for (file, text) in files {
        let path = folder.join(file);
        let made = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, text));
        made.map_err(|cause| ScaffoldError::Write { path, cause })?;
    }
    Ok(folder)
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
    name.bytes().all(fits) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

/// "letters-of" as "LettersOf".
fn type_name(name: &str) -> String {
    let capital = |word: &str| word[..1].to_uppercase() + &word[1..];
    name.split(['-', '_']).filter(|word| !word.is_empty()).map(capital).collect()
}

/// The dependency on the SDK: its folder where this program was built if that still exists, else its version.
fn sdk() -> String {
    let beside = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../sdk"));
    match beside.canonicalize() {
        Ok(folder) => format!("{{ path = {:?} }}", folder.display().to_string()),
        Err(_) => format!("{:?}", fusemix_sdk::VERSION),
    }
}

/// The lines that reject a bad item, and the samples of the test.
fn of_modality(modality: &str) -> (&'static str, &'static str) {
    match modality {
        "text" => ("        let bytes = item.as_text()?.as_bytes();", "None"),
        "image" => (
            "        let is_picture = item.bytes.starts_with(b\"\\x89PNG\") \
             || item.bytes.starts_with(&[0xff, 0xd8, 0xff]);\n        \
             if !is_picture {\n            return Err(ItemError::new(\"not a PNG or JPEG file\"));\n        }\n        \
             let bytes = item.bytes;",
            "None",
        ),
        "audio" => (
            "        if !item.bytes.starts_with(b\"RIFF\") {\n            \
             return Err(ItemError::new(\"not a WAV file\"));\n        }\n        let bytes = item.bytes;",
            "None",
        ),
        _ => (
            "        if item.bytes.is_empty() {\n            \
             return Err(ItemError::new(\"empty item\"));\n        }\n        \
             let bytes = item.bytes;",
            "Some(fusemix_sdk::check::Samples {\n            \
             good: vec![b\"one\".to_vec(), b\"another\".to_vec(), b\"a third\".to_vec()],\n            \
             bad: Vec::new(),\n        })",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_that_cargo_takes() {
        let parent = tempfile::tempdir().unwrap();
        let error = |name, modality| scaffold(parent.path(), name, modality).unwrap_err().to_string();
        assert!(error("Upper", "text").contains("`Upper` cannot be a plugin's name"));
        assert!(error("", "text").contains("cannot be"));
        assert!(error("../x", "text").contains("cannot be"));
        assert!(error("fn", "text").contains("`fn` is a word of Rust"));
        assert!(error("std", "text").contains("`std` is a word of Rust"));
        assert!(error("fine", "a b").contains("`a b` cannot be a modality"));
        assert!(scaffold(parent.path(), "fine-one", "text").unwrap().ends_with("fine-one"));
        assert!(error("fine-one", "text").contains("already there"));
        assert_eq!(type_name("fine-one_two"), "FineOneTwo");
    }
}
