//! A JSON file: captions of COCO, Karpathy's splits, WavCaps, SBU, Visual Genome, or a list of objects.

use serde_json::Value;
use std::path::Path;

use super::coco::Coco;
use super::draft::Draft;
use super::error::DataError;
use super::table::Table;
use super::text::{Text, line};
use super::visual_genome::Images;
use super::wanted::Wanted;
use super::wavcaps::Sounds;
use super::{json, jsonl, karpathy};

/// What may be behind an error.
fn why(text: &[u8], error: &serde_json::Error) -> &'static str {
    let line = text.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1)).unwrap_or_default();
    let rest = line.get(error.column().saturating_sub(1)..).unwrap_or_default();
    match ["NaN", "Infinity", "-Infinity", "aN", "nfinity"].iter().any(|word| rest.starts_with(word.as_bytes())) {
        true => "NaN and Infinity are no JSON: write null (in Python, `json.dump(..., allow_nan=False)` finds them)",
        false => "the file is damaged, or was not copied to its end",
    }
}

/// Reads the whole of `path`; files that cells name are below `root`.
pub(super) fn read(path: &Path, root: &Path, wanted: &Wanted) -> Result<Table, DataError> {
    let text = Text::open(path)?;
    if is_lines(&text) {
        return jsonl::of(path, &text, wanted);
    }
    let mut draft = Draft::new(path, "JSON", wanted);
    let mut coco = Coco::default();
    let (mut images, mut sounds) = (None, None);
    let mut parallel: [Vec<Value>; 2] = Default::default();
    let (mut keys, mut format) = (Vec::<String>::new(), None);
    let parsed = json::elements(&text, &mut |key, value| {
        match key {
            "images" if value.get("sentences").is_some() => {
                format = Some("Karpathy's JSON");
                karpathy::add(&mut draft, &value);
            }
            "images" => coco.add_image(&value),
            "annotations" => coco.add_annotation(&value),
            "data" => {
                format = Some("WavCaps");
                sounds.get_or_insert_with(|| Sounds::below(root)).add(&mut draft, &value);
            }
            "image_urls" => parallel[0].push(value),
            "captions" => parallel[1].push(value),
            "" if value.get("regions").is_some() => {
                format = Some("Visual Genome");
                images.get_or_insert_with(|| Images::below(root)).add(&mut draft, &value);
            }
            "" => match value {
                Value::Object(object) => {
                    json::set_all(&mut draft, &object);
                    draft.end_row();
                }
                _ => {
                    let reason = format!("element {}: this is no object", draft.rows() + 1);
                    draft.end_broken_row(reason);
                }
            },
            _ => {}
        }
        if keys.last().is_none_or(|last| last != key) && keys.len() < 20 {
            keys.push(key.to_owned());
        }
    });
    parsed.map_err(|error| DataError::Malformed {
        path: path.to_owned(),
        line: error.line() as u64,
        reason: format!("not JSON: {error}; {}", why(&text, &error)),
    })?;
    if coco.has_annotations() {
        format = Some("COCO captions");
        coco.join(&mut draft);
    } else if !parallel[0].is_empty() && !parallel[1].is_empty() {
        format = Some("SBU captions");
        side_by_side(&mut draft, parallel);
    }
    if draft.rows() == 0 {
        let has = if keys.is_empty() { "no lists".to_owned() } else { format!("lists under {}", keys.join(", ")) };
        let reason = format!(
            "no form of JSON that is known: it has {has}. Known are COCO's captions (images, annotations), Karpathy's \
             (images with sentences), WavCaps (data), Visual Genome's regions, and a list of objects"
        );
        return Err(DataError::Malformed { path: path.to_owned(), line: line(&text, 0), reason });
    }
    draft.table().format = format.unwrap_or("JSON");
    draft.finish()
}

/// True for an object a line.
fn is_lines(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii).filter(|line| !line.is_empty());
    let Some(first) = lines.next().filter(|line| line.starts_with(b"{") && line.ends_with(b"}")) else { return false };
    lines.next().is_some_and(|second| second.starts_with(b"{")) && serde_json::from_slice::<Value>(first).is_ok()
}

/// Rows of two lists, one beside the other.
fn side_by_side(draft: &mut Draft<'_>, [urls, captions]: [Vec<Value>; 2]) {
    for row in 0..urls.len().max(captions.len()) {
        match (urls.get(row).and_then(Value::as_str), captions.get(row).and_then(Value::as_str)) {
            (Some(url), Some(caption)) => {
                draft.set("url", url);
                draft.set("caption", caption);
                draft.end_row();
            }
            _ => draft.end_broken_row(format!("element {}: it has no caption or no URL", row + 1)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Table, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, json).unwrap();
        super::read(&path, folder.path(), &Wanted::ALL).map_err(|error| error.to_string())
    }

    fn column(table: &Table, name: &str) -> Vec<String> {
        let column = table.column(name).unwrap();
        (0..table.len()).map(|row| column.text(row).unwrap().to_owned()).collect()
    }

    #[test]
    fn coco_has_a_row_an_annotation() {
        let table = read(
            r#"{"info": {"year": 2017}, "annotations": [
                {"image_id": 9, "id": 1, "caption": "a dog"}, {"image_id": 8, "id": 2, "caption": "a cat"},
                {"image_id": 9, "id": 3, "caption": "the dog"}],
                "images": [{"id": 8, "file_name": "8.jpg"}, {"id": 9, "file_name": "9.jpg", "width": 640}]}"#,
        )
        .unwrap();
        assert_eq!((table.format(), table.names().join(" ")), ("COCO captions", "file caption image_id id".to_owned()));
        assert_eq!(column(&table, "file"), ["9.jpg", "8.jpg", "9.jpg"]);
        assert_eq!(column(&table, "caption"), ["a dog", "a cat", "the dog"]);
    }

    #[test]
    fn rows_without_an_image_or_a_caption_are_named() {
        let mut annotations: Vec<String> =
            (0..40).map(|id| format!(r#"{{"image_id": 1, "id": {id}, "caption": "c{id}"}}"#)).collect();
        annotations[4] = r#"{"image_id": 2, "id": 4, "caption": "lost"}"#.into();
        annotations[7] = r#"{"image_id": 1, "id": 7, "caption": ""}"#.into();
        annotations[9] = "17".into();
        let json = format!(
            r#"{{"images": [{{"id": 1, "file_name": "1.jpg"}}, {{"id": 5}}], "annotations": [{}]}}"#,
            annotations.join(",")
        );
        let table = read(&json).unwrap();
        let broken: Vec<(usize, &str)> = table.broken().iter().map(|(row, reason)| (*row, reason.as_str())).collect();
        assert_eq!(broken[0], (4, "annotation 5: no image has the id 2"));
        assert_eq!(broken[1], (7, "annotation 8: it has no caption"));
        assert!(broken[2].0 == 9 && broken.len() == 3, "{broken:?}");
        assert!(read(r#"{"images": [{"id": 1}], "annotations": [{"image_id": 1, "bbox": []}]}"#).is_err());
    }

    #[test]
    fn karpathy_has_a_row_a_sentence_with_its_split() {
        let table = read(
            r#"{"images": [{"filepath": "val2014", "filename": "a.jpg", "cocoid": 7, "imgid": 0, "split": "restval",
                "sentids": [0, 1], "sentences": [{"raw": "A dog.", "tokens": ["a"], "sentid": 0, "imgid": 0},
                {"raw": "A cat.", "sentid": 1}]}, {"filename": "b.jpg", "imgid": 1, "split": "test",
                "sentences": [{"raw": "B", "sentid": 2}]}], "dataset": "coco"}"#,
        )
        .unwrap();
        assert_eq!(column(&table, "file"), ["val2014/a.jpg", "val2014/a.jpg", "b.jpg"]);
        assert_eq!(column(&table, "caption"), ["A dog.", "A cat.", "B"]);
        assert_eq!(column(&table, "split"), ["restval", "restval", "test"]);
        assert_eq!((column(&table, "cocoid")[1].as_str(), column(&table, "sentid")[2].as_str()), ("7", "2"));
    }

    #[test]
    fn wavcaps_visual_genome_sbu_and_lists_of_objects_are_tables() {
        let table = read(
            r#"{"num_captions_per_audio": 1, "data": [
                {"id": "Yab.wav", "caption": "rain", "audio": "wav_path", "duration": 10.0},
                {"id": "180", "caption": "wind", "audio": "wav/180.flac"},
                {"id": "NHU05093021", "caption": "birds", "audio": "wav_path", "download_link": "https://x.zip"},
                {"id": 4711, "caption": "a bell", "audio": "wav_path"}]}"#,
        )
        .unwrap();
        assert_eq!(column(&table, "file"), ["Yab.flac", "wav/180.flac", "NHU05093021.flac", "4711.flac"]);
        let table = read(
            r#"[{"id": 1, "regions": [{"region_id": 5, "image_id": 1, "phrase": "a clock", "x": 1, "y": 2, "width": 3,
                "height": 4}, {"region_id": 6, "image_id": 1, "phrase": "a wall", "x": 0}]}]"#,
        )
        .unwrap();
        assert_eq!(
            (column(&table, "file"), column(&table, "caption")[1].as_str()),
            (vec!["1.jpg".into(); 2], "a wall")
        );
        assert_eq!(table.format(), "Visual Genome");
        let table = read(r#"{"image_urls": ["http://a", "http://b"], "captions": ["x", "y"]}"#).unwrap();
        assert_eq!(column(&table, "caption"), ["x", "y"]);
        assert_eq!(column(&read(r#"[{"a": 1}, {"b": "x"}]"#).unwrap(), "b"), ["", "x"]);
        assert_eq!(column(&read("{\"a\": 1}\n{\"a\": 2}\n").unwrap(), "a"), ["1", "2"]);
    }

    #[test]
    fn what_is_damaged_or_unknown_is_said() {
        let error = |json: &str| read(json).err().unwrap();
        assert!(error("{\"images\": [\n{\"id\": 1},\n{\"id\"").contains("a.json:3: not JSON"));
        assert!(error(r#"{"rows": [{"a": 1}]}"#).contains("lists under rows"));
        assert!(error("[{\"a\": NaN}]").contains("write null"), "{}", error("[{\"a\": NaN}]"));
        assert!(error("[{\"a\": -Infinity}]").contains("write null"), "{}", error("[{\"a\": -Infinity}]"));
        assert!(error("17").contains("not JSON"), "{}", error("17"));
    }
}
