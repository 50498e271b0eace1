//! WebDataset: a tar archive in which the files with one base name are one sample, whose fields are columns.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use super::draft::Draft;
use super::error::DataError;
use super::fields::{self, Field};
use super::img2dataset;
use super::member::Archive;
use super::samples::Sample;
use super::table::Table;
use super::tar::{Entries, Entry, Shard};
use super::wanted::Wanted;

/// A sample: its key, and the number of each field's name with its member.
struct Members {
    key: Vec<u8>,
    fields: Vec<(usize, Entry)>,
}

/// Reads the headers of `path`, which is called `shard` in messages and cells, and its members of text. Of the others,
/// only names and places are kept.
pub(super) fn read(path: &Path, shard: &str, wanted: &Wanted) -> Result<Table, DataError> {
    let mut entries = Entries::open(path)?;
    // As where nothing of a shard could be downloaded.
    let is_empty = Entries::open(path)?.next()?.is_none();
    let (samples, names) = samples(&mut entries)?;
    let archive = Arc::new(Archive::Tar(Shard::new(path)));
    let kinds: Vec<Field> = names.iter().map(|name| Field::of(name)).collect();
    let mut draft = Draft::new(path, "WebDataset", wanted);
    for Members { key, fields } in samples {
        let mut sample = Sample::begin(&mut draft, &key);
        for (number, entry) in &fields {
            let (name, kind) = (&names[*number], kinds[*number]);
            let member = format!("{shard}: {}", String::from_utf8_lossy(&entry.name));
            if !entry.whole {
                let reason = format!("is cut: the archive ends before it does (it begins at byte {})", entry.at);
                sample.wrong(&member, &reason);
            } else if sample.draft.has(name) {
                sample.wrong(&member, &format!("is the second `{name}` of its sample"));
            } else if kind.is_text() && entry.length > fields::LONGEST {
                sample.wrong(&member, "is larger than a text should be");
            } else if kind.is_text() {
                let read = || entries.read(entry).map_err(|error| format!("cannot be read: {error}"));
                sample.text(name, kind, &member, read);
            } else {
                for column in [&**name].into_iter().chain(kind.modality()) {
                    sample.draft.set_member(column, member.as_bytes(), &archive, [entry.at, entry.length]);
                }
            }
        }
        sample.end();
    }
    if draft.rows() == 0 && !is_empty {
        let reason = "there are no samples in it: a sample is files with one name and different endings".to_owned();
        return Err(DataError::Format { path: path.to_owned(), reason });
    }
    let mut table = draft.whole();
    if !entries.ended() {
        let note = "the archive has no end mark, so its copy or download may be cut: compare its size with that of its \
                    source, or get it again";
        table.notes.warn("end", note);
    }
    Ok(img2dataset::survivors(table))
}

/// The samples of an archive in the order of their first members, and the names of fields.
fn samples(entries: &mut Entries) -> Result<(Vec<Members>, Vec<String>), DataError> {
    let (mut samples, mut names) = (Vec::<Members>::new(), Vec::<String>::new());
    let (mut rows, mut numbers) = (HashMap::<Vec<u8>, usize>::new(), HashMap::<String, usize>::new());
    while let Some(entry) = entries.next()? {
        let Some((key, field)) = split(&entry.name) else { continue };
        let number = *numbers.entry(field).or_insert_with_key(|field| {
            names.push(field.clone());
            names.len() - 1
        });
        match samples.last_mut().filter(|last| last.key == key) {
            Some(last) => last.fields.push((number, entry)),
            // Samples need not be side by side.
            None => match rows.get(key) {
                Some(&row) => samples[row].fields.push((number, entry)),
                None => {
                    rows.insert(key.to_vec(), samples.len());
                    samples.push(Members { key: key.to_vec(), fields: vec![(number, entry)] });
                }
            },
        }
    }
    Ok((samples, names))
}

/// The key of a name, which ends at the first dot of its last part, and the field behind it in small letters; none for
/// what belongs to no sample.
fn split(name: &[u8]) -> Option<(&[u8], String)> {
    let name = name.strip_prefix(b"./").unwrap_or(name);
    let base = name.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    let dot = base + name[base..].iter().position(|byte| *byte == b'.')?;
    let is_sample = dot > base && dot + 1 < name.len() && !name[base..].starts_with(b"__");
    is_sample.then(|| (&name[..dot], String::from_utf8_lossy(&name[dot + 1..]).to_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::tar::tests::archive;

    fn read(tar: &[u8]) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.tar");
        std::fs::write(&path, tar).unwrap();
        let table = super::read(&path, "0.tar", &Wanted::ALL).map_err(|error| error.to_string());
        // The members are read here, while the file is there.
        if let Ok(table) = &table
            && let Some(member) = table.column("jpg").ok().and_then(|column| column.member(0))
        {
            assert_eq!(member.read().unwrap(), b"JPEG 0");
        }
        table
    }

    fn cell(table: &Table, name: &str, row: usize) -> String {
        table.column(name).unwrap().text(row).unwrap().to_owned()
    }

    #[test]
    fn files_of_one_name_are_a_sample_wherever_they_stand() {
        let table = read(&archive(&[
            ("./a/000.jpg", b"JPEG 0"),
            ("a/000.txt", b"a dog\n"),
            ("a/001.seg.PNG", b"mask"),
            ("a/000.json", br#"{"width": 640, "txt": "no", "tags": ["x"], "exif": {"iso": 100}}"#),
            (".DS_Store", b"x"),
            ("README", b"x"),
            ("a/001.jpg", b""),
        ]))
        .unwrap();
        assert_eq!((table.len(), cell(&table, "key", 1).as_str()), (2, "a/001"));
        assert_eq!((cell(&table, "txt", 0).as_str(), cell(&table, "width", 0).as_str()), ("a dog", "640"));
        assert_eq!((cell(&table, "exif.iso", 0).as_str(), cell(&table, "txt", 1).as_str()), ("100", ""));
        assert_eq!(cell(&table, "jpg", 0), "0.tar: ./a/000.jpg");
        let column = table.column("seg.png").unwrap();
        assert!(column.member(0).is_none() && column.member(1).is_some_and(|member| member.length() == Some(4)));
    }

    #[test]
    fn what_is_wrong_with_a_sample_is_named_and_costs_no_other() {
        let names: Vec<[String; 2]> = (0..40).map(|row| [format!("{row:03}.jpg"), format!("{row:03}.json")]).collect();
        let mut files: Vec<(&str, &[u8])> = Vec::new();
        for [jpg, json] in &names {
            files.push((jpg, b"JPEG 0"));
            files.push((json, b"{\"n\": 1}"));
        }
        files[11].1 = b"{\"n\": ";
        files.push(("007.jpg", b"again"));
        let mut tar = archive(&files);
        tar.truncate(tar.len() - 1024);
        tar.extend(archive(&[("last.jpg", &[1; 5000])]));
        tar.truncate(tar.len() - 3000);
        let table = read(&tar).unwrap();
        let broken: Vec<(usize, &str)> = table.broken().iter().map(|(row, reason)| (*row, reason.as_str())).collect();
        assert!(broken[0].0 == 5 && broken[0].1.starts_with("0.tar: 005.json is not JSON: EOF"), "{broken:?}");
        assert_eq!(broken[1], (7, "0.tar: 007.jpg is the second `jpg` of its sample"));
        assert!(broken[2].0 == 40 && broken[2].1.starts_with("0.tar: last.jpg is cut"), "{broken:?}");
        assert_eq!(broken.len(), 3);
        assert!(read(&archive(&[("README", b"x")])).err().unwrap().contains("no samples"));
    }
}
