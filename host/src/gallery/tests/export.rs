//! Exports hold what the gallery holds: each item once, in order, with its vector to the bit.

use ::parquet::arrow::arrow_reader::ParquetRecordBatchReader;
use arrow_array::cast::AsArray;
use arrow_array::types::{Float32Type, Float64Type};
use arrow_array::{Array, RecordBatch};
use std::fs::{self, File};
use std::path::PathBuf;
use tempfile::TempDir;

use super::*;
use crate::stop::Stop;

/// A gallery of two segments from which an item was removed, with odd names and prices.
fn gallery() -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    let mut writer = create(&path, 3, Dtype::F32);
    append(&mut writer, &["a", "gone", "a \"quoted\"\tid\\"], 0.5);
    let odd = [exhibit("no price", Value::Null), exhibit("half", 0.5), exhibit("ünï\n", -3)];
    writer.append(&odd, &[1e-20, -0.0, 3.4e38, 0.1, 0.2, 0.3, 7.0, 8.0, 9.0]).unwrap();
    writer.remove(&["gone"]).unwrap();
    (folder, path)
}

fn export(path: &Path, filter: Option<&str>, target: &Target) -> Result<Shipped, ExportError> {
    let gallery = Gallery::open(path).unwrap();
    let filter: Option<Filter> = filter.map(|filter| filter.parse().unwrap());
    let mut exporting = Exporting::begin(&gallery, filter.as_ref(), target, &Stop::default())?;
    while exporting.step()?.is_some() {}
    exporting.finish()
}

fn batch(path: &Path) -> RecordBatch {
    let mut batches: Vec<_> = ParquetRecordBatchReader::try_new(File::open(path).unwrap(), 1024).unwrap().collect();
    assert_eq!(batches.len(), 1);
    batches.remove(0).unwrap()
}

fn names(batch: &RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

fn texts(batch: &RecordBatch, column: usize) -> Vec<String> {
    batch.column(column).as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect()
}

/// All vectors, row by row, as bits.
fn bits(path: &Path) -> Vec<u32> {
    contents(path).into_iter().flat_map(|(_, vector)| vector).map(f32::to_bits).collect()
}

fn little_endian(bytes: &[u8]) -> Vec<u32> {
    bytes.chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect()
}

#[test]
fn parquet_has_columns_of_their_types_and_lists_of_a_fixed_size() {
    let (folder, path) = gallery();
    let out = folder.path().join("out.parquet");
    let target = Target::Parquet { path: out.clone(), vector: "vector".into() };
    assert_eq!(export(&path, None, &target).unwrap(), Shipped { items: 5, unchanged: 0 });
    let batch = batch(&out);
    assert_eq!(names(&batch), ["id", "name", "price", "vector"]);
    assert_eq!(texts(&batch, 0), ids(&path));
    assert_eq!(texts(&batch, 1)[1], "the a \"quoted\"\tid\\");
    let prices = batch.column(2).as_primitive::<Float64Type>();
    assert_eq!(prices.iter().collect::<Vec<_>>(), [Some(1.0), Some(14.0), None, Some(0.5), Some(-3.0)]);
    let vectors = batch.column(3).as_fixed_size_list();
    assert_eq!((vectors.value_length(), vectors.null_count()), (3, 0));
    let values = vectors.values().as_primitive::<Float32Type>();
    assert_eq!(values.values().iter().map(|value| value.to_bits()).collect::<Vec<_>>(), bits(&path));
}

#[test]
fn arrays_and_indices_hold_the_bits_and_name_their_rows_beside() {
    let (folder, path) = gallery();
    let (npy, faiss) = (folder.path().join("out.npy"), folder.path().join("out.index"));
    export(&path, None, &Target::Npy { path: npy.clone() }).unwrap();
    export(&path, None, &Target::Faiss { path: faiss.clone() }).unwrap();
    let (array, index) = (fs::read(&npy).unwrap(), fs::read(&faiss).unwrap());
    assert_eq!(little_endian(&array[array.len() - 60..]), bits(&path));
    // faiss: type, width, rows, two unused, trained, inner product, values.
    let header = [b"IxFI".to_vec(), vec![3, 0, 0, 0], vec![5, 0, 0, 0, 0, 0, 0, 0]].concat();
    assert_eq!(&index[..16], header);
    assert_eq!(&index[32..45], [1, 0, 0, 0, 0, 15, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(little_endian(&index[45..]), bits(&path));
    for vectors in [npy, faiss] {
        let lines = fs::read_to_string(crate::whole_file::beside(&vectors, ".items.jsonl")).unwrap();
        let items: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(items.iter().map(|item| item["id"].as_str().unwrap()).collect::<Vec<_>>(), ids(&path));
        assert_eq!(items[4], json!({"id": "ünï\n", "name": "the ünï\n", "price": -3}));
    }
}

#[test]
fn lines_of_json_read_back_to_the_bit() {
    let (folder, path) = gallery();
    let out = folder.path().join("out.jsonl");
    let target = Target::Jsonl { out: Out::File(out.clone()), vector: "v".into() };
    assert_eq!(export(&path, Some("price < 1"), &target).unwrap().items, 2);
    let lines = fs::read_to_string(&out).unwrap();
    let items: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(items[0]["id"], "half");
    let vector: Vec<f32> = serde_json::from_value(items[0]["v"].clone()).unwrap();
    assert_eq!(vector, [0.1, 0.2, 0.3]);
    assert!(lines.contains("[0.1,0.2,0.3]"), "as short as f32 allows: {lines}");
}

#[test]
fn clip_retrieval_gets_its_folder_and_its_names() {
    let (folder, path) = gallery();
    let out = folder.path().join("clip");
    let target = Target::ClipRetrieval { path: out.clone(), modality: ClipModality::Text };
    export(&path, None, &target).unwrap();
    let batch = batch(&out.join("metadata/metadata_0.parquet"));
    // This gallery has no column `item`, which would be `caption`.
    assert_eq!(names(&batch), ["id", "name", "price"]);
    let array = fs::read(out.join("text_emb/text_emb_0.npy")).unwrap();
    assert_eq!(little_endian(&array[array.len() - 60..]), bits(&path));
    assert!(matches!(export(&path, None, &target), Err(ExportError::NotEmpty { .. })));
}

#[test]
fn sql_creates_fills_and_replaces() {
    let (folder, path) = gallery();
    let out = folder.path().join("out.sql");
    let target = |vector: &str| Target::Pgvector {
        out: Out::File(out.clone()),
        table: "shop.my \"items\"".into(),
        vector: vector.into(),
    };
    export(&path, None, &target("embedding")).unwrap();
    let sql = fs::read_to_string(&out).unwrap();
    for part in [
        "CREATE TABLE IF NOT EXISTS \"shop\".\"my \"\"items\"\"\" (",
        "\"price\" double precision,",
        "\"embedding\" vector(3) NOT NULL",
        "\na \"quoted\"\\tid\\\\\tthe a \"quoted\"\\tid\\\\\t14\t[6.5,7.5,8.5]\n",
        "\nno price\tthe no price\t\\N\t[0.00000000000000000001,-0,340000000000000000000000000000000000000]\n",
        "ON CONFLICT (\"id\") DO UPDATE SET \"name\" = EXCLUDED.\"name\"",
    ] {
        assert!(sql.contains(part), "{part} in\n{sql}");
    }
    assert!(matches!(export(&path, None, &target("price")), Err(ExportError::Taken { .. })));
}

#[test]
fn an_empty_gallery_is_exported_as_such() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    append(&mut create(&path, 3, Dtype::F16), &["a"], 0.5);
    let out = folder.path().join("out.parquet");
    let target = Target::Parquet { path: out.clone(), vector: "vector".into() };
    assert_eq!(export(&path, Some("id = 'b'"), &target).unwrap().items, 0);
    let mut reader = ParquetRecordBatchReader::try_new(File::open(&out).unwrap(), 1024).unwrap();
    assert!(reader.next().is_none());
}
