//! A Parquet file: its columns of text and numbers are read into memory, those of pictures and sounds when needed.

use arrow_array::cast::AsArray;
use arrow_array::types::*;
use arrow_array::{Array, ArrayRef};
use arrow_schema::DataType;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use std::fmt::{Display, LowerExp};
use std::path::Path;
use std::sync::Arc;

use super::bytes_column::{BytesColumn, holds_bytes};
use super::draft::Draft;
use super::error::DataError;
use super::img2dataset;
use super::member::Archive;
use super::table::Table;
use super::usual;
use super::wanted::Wanted;
use crate::{quiet_panic, regular};

/// Rows that are read together.
const BATCH: usize = 4096;
/// The most characters of a number that is written without a power of ten.
const MOST_DIGITS: usize = 24;
/// The same of a whole number.
const MOST_WHOLE: usize = 17;

/// What is done with a column.
enum Use {
    /// Its cells are kept.
    Cells,
    /// It holds members, and of a struct also paths.
    Members(Arc<Archive>),
    /// Its name alone is known.
    Passed,
}

/// True for a column of bytes that are texts, as some writers have them.
fn holds_texts(name: &str) -> bool {
    usual::CAPTIONS.contains(&name) || ["txt", "TEXT", "url", "key"].contains(&name)
}

/// Reads the wanted columns of `path` that are no bytes; in cells that name a row, it is called `shard`.
pub(super) fn read(path: &Path, shard: &str, wanted: &Wanted) -> Result<Table, DataError> {
    let damaged = |reason: String| DataError::Format {
        path: path.to_owned(),
        reason: format!("not a whole Parquet file ({reason}); it was not written or copied to its end"),
    };
    let read = quiet_panic::catch(|| table(path, shard, wanted, &damaged));
    read.unwrap_or_else(|| Err(damaged("a part of it is damaged".to_owned())))
}

fn table(path: &Path, shard: &str, wanted: &Wanted, damaged: &dyn Fn(String) -> DataError) -> Result<Table, DataError> {
    let failed = |cause| DataError::Read { path: path.to_owned(), cause };
    let file = regular::open(path, u64::MAX).map_err(failed)?;
    let metadata =
        ArrowReaderMetadata::load(&file, ArrowReaderOptions::new()).map_err(|error| damaged(error.to_string()))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
    let (schema, leaves) = (builder.parquet_schema(), builder.parquet_schema().num_columns());
    let rows = metadata.metadata().file_metadata().num_rows().max(0) as usize;
    let (mut uses, mut projected, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for (root, field) in metadata.schema().fields().iter().enumerate() {
        let of = || (0..leaves).filter(|&leaf| schema.get_column_root_idx(leaf) == root);
        let (name, has_bytes) = (field.name(), holds_bytes(field.data_type()));
        let is_cell = is_cell(field.data_type()) || has_bytes && holds_texts(name);
        let path_column = format!("{name}.path");
        if (is_cell || has_bytes) && !wanted.takes(name) && !(has_bytes && wanted.takes(&path_column)) {
            uses.push((name.clone(), Use::Passed));
        } else if is_cell {
            projected.extend(of());
            uses.push((name.clone(), Use::Cells));
        } else if has_bytes {
            // The path of a struct is a text.
            projected.extend(of().filter(|&leaf| schema.column(leaf).name() == "path"));
            let column = BytesColumn::new(path, name, metadata.clone(), of().collect());
            uses.push((name.clone(), Use::Members(Arc::new(Archive::Parquet(Box::new(column))))));
        } else {
            left_out.push(format!("`{name}`"));
        }
    }
    let mut draft = Draft::new(path, "Parquet", wanted);
    let mask = ProjectionMask::leaves(schema, projected.iter().copied());
    let reader = builder.with_projection(mask).with_batch_size(BATCH).build();
    for batch in reader.map_err(|error| damaged(error.to_string()))? {
        let batch = batch.map_err(|error| damaged(format!("after row {}: {error}", draft.rows())))?;
        let columns: Vec<Option<&ArrayRef>> = uses.iter().map(|(name, _)| batch.column_by_name(name)).collect();
        for row in 0..batch.num_rows() {
            let number = draft.rows();
            for ((name, of), column) in uses.iter().zip(&columns) {
                match (of, column) {
                    (Use::Cells, Some(column)) => set(&mut draft, name, column, row),
                    (Use::Members(archive), column) => {
                        let cell = format!("{shard}: row {}", number + 1);
                        draft.set_member(name, cell.as_bytes(), archive, [number as u64, 0]);
                        let paths = column.and_then(|column| column.as_struct_opt()?.column_by_name("path"));
                        if let Some(paths) = paths {
                            set(&mut draft, &format!("{name}.path"), paths, row);
                        }
                    }
                    (Use::Cells, None) | (Use::Passed, _) => {}
                }
            }
            draft.end_row();
        }
    }
    // Without a column of text nothing was read.
    while projected.is_empty() && draft.rows() < rows {
        let number = draft.rows();
        for (name, of) in &uses {
            if let Use::Members(archive) = of {
                let cell = format!("{shard}: row {}", number + 1);
                draft.set_member(name, cell.as_bytes(), archive, [number as u64, 0]);
            }
        }
        draft.end_row();
    }
    if !left_out.is_empty() {
        let note = format!("columns of numbers in lists, or of other forms, are not read: {}", left_out.join(", "));
        draft.table().notes.tell("forms", note);
    }
    // So that a file without rows has its columns.
    for (name, _) in &uses {
        draft.column(name);
    }
    Ok(img2dataset::survivors(draft.whole()))
}

/// True if the values of a column are cells: texts, numbers, truths, or lists of texts.
fn is_cell(of: &DataType) -> bool {
    let is_text = |of: &DataType| matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View);
    match of {
        DataType::List(item) | DataType::LargeList(item) => is_text(item.data_type()),
        DataType::Dictionary(_, values) => is_text(values),
        DataType::Struct(_) => false,
        of => is_text(of) || of.is_integer() || matches!(of, DataType::Boolean | DataType::Float32 | DataType::Float64),
    }
}

/// A number with few digits: a power of ten has a sign, by which it is known for a number.
fn written(number: impl Display + LowerExp) -> String {
    let plain = number.to_string();
    // Those of a whole number must not be more than 64 bits hold.
    let most = if plain.contains('.') { MOST_DIGITS } else { MOST_WHOLE };
    if plain.len() <= most {
        return plain;
    }
    let power = format!("{number:e}");
    if power.contains("e-") { power } else { power.replace('e', "e+") }
}

/// Gives a row of the draft the value of a column's row; nothing for null.
fn set(draft: &mut Draft<'_>, name: &str, column: &ArrayRef, row: usize) {
    if column.is_null(row) {
        return;
    }
    macro_rules! number {
        ($of:ty) => {
            draft.set(name, column.as_primitive::<$of>().value(row).to_string())
        };
    }
    match column.data_type() {
        DataType::Utf8 => draft.set(name, column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => draft.set(name, column.as_string::<i64>().value(row)),
        DataType::Utf8View => draft.set(name, column.as_string_view().value(row)),
        DataType::Binary => draft.set(name, column.as_binary::<i32>().value(row)),
        DataType::LargeBinary => draft.set(name, column.as_binary::<i64>().value(row)),
        DataType::BinaryView => draft.set(name, column.as_binary_view().value(row)),
        DataType::Boolean => draft.set(name, column.as_boolean().value(row).to_string()),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float32 => draft.set(name, written(column.as_primitive::<Float32Type>().value(row))),
        DataType::Float64 => draft.set(name, written(column.as_primitive::<Float64Type>().value(row))),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            // One key: those of the whole batch would be made anew for each cell.
            let key = dictionary.slice(row, 1).as_any_dictionary().normalized_keys()[0];
            set(draft, name, dictionary.values(), key);
        }
        DataType::List(_) => set_list(draft, name, &column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => set_list(draft, name, &column.as_list::<i64>().value(row)),
        _ => {}
    }
}

/// A list of texts, without those that are null.
fn set_list(draft: &mut Draft<'_>, name: &str, list: &ArrayRef) {
    let text = |at: usize| match list.data_type() {
        DataType::Utf8 => list.as_string::<i32>().value(at).to_owned(),
        DataType::LargeUtf8 => list.as_string::<i64>().value(at).to_owned(),
        _ => list.as_string_view().value(at).to_owned(),
    };
    let texts: Vec<String> = (0..list.len()).filter(|&at| list.is_valid(at)).map(text).collect();
    if !texts.is_empty() {
        draft.set_list(name, &serde_json::json!(texts).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::bytes_column::Look;
    use arrow_array::builder::{ListBuilder, StringBuilder};
    use arrow_array::{BinaryArray, Int64Array, RecordBatch, StringArray, StructArray};
    use arrow_schema::Field;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::WriterProperties;
    use std::path::PathBuf;

    fn read(path: &Path, wanted: &Wanted) -> Result<Table, DataError> {
        super::read(path, &crate::dataset::fields::name(path), wanted)
    }

    /// A hub's file of `rows` pictures in row groups of 10: bytes, every 7th a path in their stead, row 5 neither.
    fn hub(folder: &Path, rows: usize) -> PathBuf {
        let bytes = |row: usize| (row % 7 != 3 && row != 5).then(|| format!("JPEG {row}").into_bytes());
        let bytes: Vec<Option<Vec<u8>>> = (0..rows).map(bytes).collect();
        let bytes = BinaryArray::from_iter(bytes.iter().map(Option::as_deref));
        let paths = StringArray::from_iter((0..rows).map(|row| (row != 5).then(|| format!("{row}.jpg"))));
        let fields = [("bytes", DataType::Binary), ("path", DataType::Utf8)];
        let fields = fields.map(|(name, of)| Arc::new(Field::new(name, of, true)));
        let arrays = [Arc::new(bytes) as ArrayRef, Arc::new(paths) as ArrayRef];
        let image = StructArray::from(fields.into_iter().zip(arrays).collect::<Vec<_>>());
        let mut captions = ListBuilder::new(StringBuilder::new());
        for row in 0..rows {
            captions.values().append_value(format!("caption {row}"));
            captions.values().append_value(format!("another {row}"));
            captions.append(true);
        }
        let columns: Vec<(&str, ArrayRef)> = vec![
            ("image", Arc::new(image)),
            ("captions", Arc::new(captions.finish())),
            ("n", Arc::new(Int64Array::from_iter((0..rows as i64).map(|row| (row != 2).then_some(row))))),
        ];
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let path = folder.join("train-00000-of-00001.parquet");
        let properties = WriterProperties::builder().set_max_row_group_row_count(Some(10)).build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        path
    }

    #[test]
    fn numbers_are_written_as_numbers() {
        let all = [1.5, 1e20, 1e300, 5e-324, -0.0, 0.1].map(written);
        assert_eq!(all, ["1.5", "1e+20", "1e+300", "5e-324", "-0", "0.1"]);
    }

    #[test]
    fn pictures_are_read_when_needed_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = hub(folder.path(), 45);
        std::fs::write(folder.path().join("10.jpg"), "a file").unwrap();
        let table = read(&path, &Wanted::ALL).unwrap();
        assert_eq!(table.names(), ["image", "image.path", "captions", "n"]);
        let image = table.column("image").unwrap();
        let item = |row: usize| image.item(row).read().map(|bytes| String::from_utf8(bytes.into_owned()).unwrap());
        for row in (0..45).chain((0..45).rev()).chain([44, 0, 22, 21, 23]) {
            match row {
                10 => assert_eq!(item(row).unwrap(), "a file"),
                5 => assert!(item(row).unwrap_err().contains("row 6: column `image` has neither bytes nor a path")),
                row if row % 7 == 3 => assert!(item(row).unwrap_err().contains(&format!("{row}.jpg"))),
                row => assert_eq!(item(row).unwrap(), format!("JPEG {row}")),
            }
        }
        assert_eq!(image.text(16).unwrap(), "train-00000-of-00001.parquet: row 17");
        assert_eq!(table.column("n").unwrap().text(2).unwrap(), "");
        let spread = table.captions("captions").unwrap();
        assert_eq!((spread.len(), spread.column("captions").unwrap().text(3).unwrap()), (90, "another 1"));
        assert_eq!(spread.column("image").unwrap().item(3).read().unwrap(), &b"JPEG 1"[..]);
    }

    #[test]
    fn columns_that_are_not_wanted_are_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = hub(folder.path(), 45);
        let only = |names: &[&str]| Wanted::only(names.iter().map(|name| (*name).to_owned()));
        let table = read(&path, &only(&["n"])).unwrap();
        assert_eq!((table.len(), table.names().len()), (45, 3));
        assert_eq!(table.columns.iter().filter(|column| column.are_kept()).count(), 1);
        assert_eq!(table.column("n").unwrap().text(44).unwrap(), "44");
        let table = read(&path, &only(&["image"])).unwrap();
        assert_eq!(table.column("image").unwrap().item(44).read().unwrap(), &b"JPEG 44"[..]);
        assert!(table.column("image.path").err().unwrap().to_string().contains("was not read"));
        assert_eq!(read(&path, &only(&["other"])).unwrap().len(), 45);
    }

    #[test]
    fn what_a_row_lacks_is_known_without_its_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let table = read(&hub(folder.path(), 45), &Wanted::ALL).unwrap();
        let image = table.column("image").unwrap();
        for row in 0..45 {
            let found = image.member(row).unwrap().look();
            match row {
                5 => assert!(matches!(&found, Look::Missing(why) if why.contains("neither bytes nor a path")), "{row}"),
                row if row % 7 == 3 => assert!(matches!(&found, Look::Missing(why) if why.contains(".jpg")), "{row}"),
                _ => assert!(matches!(found, Look::There), "{row}: {found:?}"),
            }
        }
    }

    #[test]
    fn threads_read_at_once_and_a_folder_is_one_table() {
        use rayon::prelude::*;
        let folder = tempfile::tempdir().unwrap();
        hub(folder.path(), 300);
        let table = crate::dataset::read_table(folder.path()).unwrap();
        let (image, split) = (table.column("image").unwrap(), table.column("split").unwrap());
        let is_right = |row: usize| match image.item(row).read() {
            Ok(bytes) => *bytes == *format!("JPEG {row}").as_bytes(),
            Err(_) => row % 7 == 3 || row == 5,
        };
        assert!((0..300).into_par_iter().all(is_right));
        assert_eq!(split.text(299).unwrap(), "train");
    }

    #[test]
    fn what_was_not_downloaded_has_no_row_and_a_damaged_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0.parquet");
        let texts = |texts: [Option<&str>; 3]| Arc::new(StringArray::from_iter(texts)) as ArrayRef;
        let jpg: ArrayRef = Arc::new(BinaryArray::from_iter([Some(&b"A"[..]), None, Some(b"C")]));
        let batch = RecordBatch::try_from_iter([
            ("key", texts([Some("0"), Some("1"), Some("2")])),
            ("url", texts([Some("http://a"), Some("http://b"), Some("http://c")])),
            ("status", texts([Some("success"), Some("failed_to_download"), Some("success")])),
            ("jpg", jpg),
        ]);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.as_ref().unwrap().schema(), None).unwrap();
        writer.write(&batch.unwrap()).unwrap();
        let bytes = writer.into_inner().unwrap();
        std::fs::write(&path, &bytes).unwrap();
        let table = read(&path, &Wanted::ALL).unwrap();
        assert_eq!((table.format(), table.len(), table.number(1)), ("img2dataset", 2, 3));
        assert_eq!(table.notes(), ["2 of 3 rows were downloaded; 1 failed_to_download"]);
        assert_eq!(table.column("jpg").unwrap().item(1).read().unwrap(), &b"C"[..]);
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        let error = read(&path, &Wanted::ALL).err().unwrap().to_string();
        assert!(error.contains("0.parquet: not a whole Parquet file"), "{error}");
    }
}
