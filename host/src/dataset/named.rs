//! Precomputed latents by name: cells of a table name rows of a file of latents.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::error::DataError;
use super::fields::ending;
use super::format;
use super::matrix::{Missing, PrecomputedLatents, Stored};
use super::precomputed::Precomputed;
use super::vectors::{Values, Vectors};
use super::wanted::Wanted;
use crate::latents::Latents;
use crate::regular;
use crate::wording::suggest;

/// A file of latents, of which each row has a name.
pub struct NamedLatents {
    latents: Arc<PrecomputedLatents>,
    /// False for rows that are no latents.
    present: Vec<bool>,
    /// The row of each id; without ids, rows go by their numbers, from 0.
    rows: Option<HashMap<Vec<u8>, usize>>,
    identity: OnceLock<String>,
}

impl NamedLatents {
    /// Opens the tensor of a file, the only one if none is named. Row i of column `id` of the table `ids` is the id of
    /// row i; without a table it is that of such a column of the file itself, should it have one.
    pub fn open(path: &Path, tensor: Option<&str>, ids: Option<&Path>, id: &str) -> Result<Self, DataError> {
        let (latents, missing, own) = match ending(path).as_deref() {
            Some("parquet") => in_parquet(path, tensor, id)?,
            _ => {
                let file = Precomputed::open(path)?;
                let (latents, missing) = file.column(&file.only(tensor)?)?;
                (latents, missing, None)
            }
        };
        let mut present = vec![true; latents.len()];
        missing.rows().for_each(|row| present[row] = false);
        let rows = match ids {
            Some(table) => Some(ids_of(table, id, (path, latents.len()))?),
            None => own.map(|ids| places(path, ids)).transpose()?,
        };
        Ok(Self { latents: Arc::new(latents), present, rows, identity: OnceLock::new() })
    }

    /// The latents.
    pub fn latents(&self) -> &Arc<PrecomputedLatents> {
        &self.latents
    }

    /// The digest of its size and of rows all over it, and of their ids.
    pub fn identity(&self) -> &str {
        self.identity.get_or_init(|| self.digest())
    }

    fn digest(&self) -> String {
        const ROWS: usize = 256;
        let (latents, mut hasher) = (&self.latents, blake3::Hasher::new());
        let rows = latents.len();
        hasher.update(format!("{rows} {}", latents.width()).as_bytes());
        for at in 0..rows.min(ROWS) {
            hasher.update(&latents.row_content(at * rows / rows.min(ROWS)));
        }
        let mut ids: Vec<_> = self.rows.iter().flatten().collect();
        ids.sort_unstable_by_key(|(_, row)| **row);
        for (id, _) in ids {
            hasher.update(&(id.len() as u64).to_le_bytes()).update(id);
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// The row that a cell names, or the reason why there is no latent.
    pub fn row(&self, cell: &[u8]) -> Result<usize, String> {
        let name = || String::from_utf8_lossy(cell);
        let row = match &self.rows {
            Some(rows) => *rows.get(cell).ok_or_else(|| format!("no latent has the id {:?}", name()))?,
            None => {
                let number = std::str::from_utf8(cell).ok().and_then(|cell| cell.trim().parse::<i64>().ok());
                let (rows, row) = (self.present.len(), number.and_then(|number| usize::try_from(number).ok()));
                let hint = if number.is_none() { "; to name rows by id, add `ids = FILE` to the tower" } else { "" };
                row.filter(|row| *row < rows).ok_or_else(|| {
                    let last = rows.saturating_sub(1);
                    format!("{:?} is no row of the latents: a number from 0 to {last}{hint}", name())
                })?
            }
        };
        if self.present[row] { Ok(row) } else { Err(format!("row {row} of the latents is no latent")) }
    }
}

/// The latents in a column of a .parquet file, the only one if none is named, and the ids in another one.
#[allow(clippy::type_complexity, reason = "it is taken apart where it is asked for")]
fn in_parquet(
    path: &Path,
    column: Option<&str>,
    id: &str,
) -> Result<(PrecomputedLatents, Missing, Option<Vec<Vec<u8>>>), DataError> {
    let wrong = |reason| DataError::Tensors { path: path.to_owned(), reason };
    let file = regular::open(path, u64::MAX).map_err(|cause| DataError::Read { path: path.to_owned(), cause })?;
    let vectors = Vectors::open(file).map_err(wrong)?;
    let column = match (column, vectors.names()) {
        (Some(name), names) if names.iter().any(|known| known == name) => name,
        (Some(name), names) => {
            let suggestion = suggest(name, names.iter().map(String::as_str));
            return Err(DataError::Column { path: path.to_owned(), name: name.to_owned(), suggestion });
        }
        (None, [name]) => name,
        (None, []) => return Err(wrong("it has no column of lists of floats, and so no latents".to_owned())),
        (None, names) => {
            return Err(wrong(format!("which of its columns holds the latents? Name it: tensor = {names:?}")));
        }
    };
    let Values { map, width } = vectors.values(column).map_err(wrong)?;
    let (rows, bytes) = (vectors.rows(), 0..vectors.rows() * width * size_of::<f32>());
    let latents = PrecomputedLatents { map, bytes, stored: Stored::F32, is_big_endian: false, rows, width };
    let missing = latents.missing();
    missing.warn(path, column);
    Ok((latents, missing, vectors.ids(id).map_err(wrong)?))
}

/// The rows of the ids in a column of a table, which must be as many as the latents of a file.
fn ids_of(table: &Path, column: &str, (path, rows): (&Path, usize)) -> Result<HashMap<Vec<u8>, usize>, DataError> {
    let wrong = |reason: String| DataError::Tensors { path: table.to_owned(), reason };
    let ids = format::read(table, None, &Wanted::only([column.to_owned()]))?;
    let ids = ids.column(column)?;
    if ids.len() != rows {
        let reason =
            format!("{} ids for the {rows} latents of {}; row i must name latent i", ids.len(), path.display());
        return Err(wrong(reason));
    }
    places(table, (0..rows).map(|row| ids.cell(row).to_vec()).collect())
}

/// The row of each id of the file at `path`.
fn places(path: &Path, ids: Vec<Vec<u8>>) -> Result<HashMap<Vec<u8>, usize>, DataError> {
    let mut found = HashMap::with_capacity(ids.len());
    for (row, id) in ids.into_iter().enumerate() {
        let name = String::from_utf8_lossy(&id).into_owned();
        if let Some(earlier) = found.insert(id, row) {
            let reason = format!("rows {} and {} have the same id {name:?}; give each its own", earlier + 1, row + 1);
            return Err(DataError::Tensors { path: path.to_owned(), reason });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::array_file::{ArrayFile, Matrix};

    #[test]
    fn rows_go_by_number_or_by_id() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let matrix = Matrix { name: "z", width: 2, present: vec![true, false, true] };
        let mut file = ArrayFile::create(&at("z.npy"), None).unwrap().begin(matrix).unwrap();
        [[1.0, 2.0], [5.0, 6.0]].iter().for_each(|row| file.row(row).unwrap());
        file.finish().unwrap();
        let numbered = NamedLatents::open(&at("z.npy"), None, None, "id").unwrap();
        assert_eq!(numbered.row(b" 2"), Ok(2));
        assert!(numbered.row(b"1").unwrap_err().contains("row 1 of the latents is no latent"));
        for cell in ["3", "-1", "x", ""] {
            let error = numbered.row(cell.as_bytes()).unwrap_err();
            assert!(error.contains("a number from 0 to 2"), "{cell}");
            assert_eq!(error.contains("add `ids = FILE`"), cell.parse::<i64>().is_err(), "{cell}");
        }
        let open = |ids: &str| {
            std::fs::write(at("ids.tsv"), ids).unwrap();
            NamedLatents::open(&at("z.npy"), None, Some(&at("ids.tsv")), "id")
        };
        let named = open("id\tname\na\tx\nb\ty\nc\tz\n").unwrap();
        assert_eq!((named.row(b"a"), named.row(b"c")), (Ok(0), Ok(2)));
        assert!(named.row(b"2").unwrap_err().contains("no latent has the id \"2\""));
        let error = |ids: &str| open(ids).err().unwrap().to_string();
        assert!(error("id\na\nb\n").contains("2 ids for the 3 latents"), "{}", error("id\na\nb\n"));
        assert!(error("id\na\nb\na\n").contains("rows 1 and 3 have the same id"));
        assert!(error("key\na\nb\nc\n").contains("no column `id`"));

        let matrix = || Matrix { name: "z", width: 2, present: vec![true, false, true] };
        let write = |ids| {
            let mut file = ArrayFile::create(&at("z.parquet"), ids).unwrap().begin(matrix()).unwrap();
            [[1.0, 2.0], [5.0, 6.0]].iter().for_each(|row| file.row(row).unwrap());
            file.finish().unwrap();
            NamedLatents::open(&at("z.parquet"), None, None, "id")
        };
        let own = write(Some(vec!["7", "8", "9"])).unwrap();
        assert_eq!(own.row(b"9"), Ok(2));
        assert!(own.row(b"2").unwrap_err().contains("no latent has the id"));
        assert_eq!(write(None).unwrap().row(b"2"), Ok(2));
        assert!(write(Some(vec!["7", "8", "7"])).err().unwrap().to_string().contains("rows 1 and 3 have the same id"));
    }

    #[test]
    fn vectors_of_parquet_are_what_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("latents.parquet");
        let values = [[1.0, -0.5, 3.25], [0.125, 2.0, -7.5]];
        for present in [vec![true, true], vec![false, true, false, true, false]] {
            let there: Vec<usize> = (0..present.len()).filter(|&row| present[row]).collect();
            let matrix = Matrix { name: "latents", width: 3, present: present.clone() };
            let mut file = ArrayFile::create(&path, None).unwrap().begin(matrix).unwrap();
            values.iter().for_each(|row| file.row(row).unwrap());
            file.finish().unwrap();
            let named = NamedLatents::open(&path, Some("latent"), None, "none").unwrap();
            assert_eq!(named.present, present);
            for (row, values) in there.into_iter().zip(values) {
                let mut out = [0.0; 3];
                named.latents().copy_row(row, &mut out);
                assert_eq!(out, values);
            }
        }
        let error = NamedLatents::open(&path, Some("latant"), None, "id").err().unwrap().to_string();
        assert!(error.contains("did you mean `latent`?"), "{error}");
        std::fs::write(&path, b"PAR1 and no more").unwrap();
        assert!(NamedLatents::open(&path, None, None, "id").err().unwrap().to_string().contains("not a Parquet file"));
    }
}
