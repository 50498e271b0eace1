//! Items of one modality in order: a list, or a column whose cells hold texts or name files.

use fusemix_sdk::{ItemKind, Modality};
use std::borrow::Cow;

use super::column::Column;
use super::item::Item;

/// Cells that are examined to guess the content of a column.
const FIRST: usize = 5;

/// The reason why bytes are no text, if they are none.
pub(crate) fn no_text(bytes: &[u8]) -> Option<String> {
    let error = std::str::from_utf8(bytes).err()?;
    Some(format!("invalid UTF-8 at byte {}: save it as UTF-8", error.valid_up_to()))
}

/// Items of a modality, each read on demand.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    source: Source<'a>,
    modality: &'a Modality,
}

#[derive(Clone, Copy)]
enum Source<'a> {
    Column(Column<'a>, Cells),
    List(&'a [Item<'a>]),
}

/// The way a column's cells hold items.
#[derive(Clone, Copy, PartialEq)]
enum Cells {
    Texts,
    Files,
}

impl<'a> Items<'a> {
    /// The items in a column. Cells hold texts, or name picture and sound files relative to the table. For other
    /// modalities the encoder decides; if it does not, cells name files if one of the first does.
    pub fn new(column: Column<'a>, modality: &'a Modality, kind: Option<ItemKind>) -> Self {
        let cells = match (modality, kind) {
            _ if column.holds_members() => Cells::Files,
            (Modality::Text, _) => Cells::Texts,
            (Modality::Image | Modality::Audio, _) => Cells::Files,
            (Modality::Other(_), Some(ItemKind::Text)) => Cells::Texts,
            (Modality::Other(_), Some(ItemKind::File)) => Cells::Files,
            _ if (0..column.len().min(FIRST)).any(|row| names_a_file(column, row)) => Cells::Files,
            _ => Cells::Texts,
        };
        Self { source: Source::Column(column, cells), modality }
    }

    /// The items of a list.
    pub fn of(items: &'a [Item<'a>], modality: &'a Modality) -> Self {
        Self { source: Source::List(items), modality }
    }

    /// Items.
    pub fn len(&self) -> usize {
        match self.source {
            Source::Column(column, _) => column.len(),
            Source::List(items) => items.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Their modality.
    pub fn modality(&self) -> &'a Modality {
        self.modality
    }

    /// True if some of them are files.
    pub fn are_files(&self) -> bool {
        match self.source {
            Source::Column(_, cells) => cells == Cells::Files,
            Source::List(items) => items.iter().any(|item| !matches!(item, Item::Inline(_))),
        }
    }

    /// Item `index`.
    pub fn item(&self, index: usize) -> Item<'a> {
        match self.source {
            Source::Column(column, Cells::Texts) => Item::Inline(Cow::Borrowed(column.cell(index))),
            Source::Column(column, Cells::Files) => column.item(index),
            Source::List(items) => items[index].clone(),
        }
    }

    /// True if item `index` is that of the row before it, as where each caption of a picture has a row.
    pub(crate) fn repeats(&self, index: usize) -> bool {
        let Source::Column(column, Cells::Files) = self.source else { return false };
        let is_same = || match (column.member(index), column.member(index - 1)) {
            (Some(one), Some(other)) => one == other,
            (None, None) => {
                column.cell(index) == column.cell(index - 1) && column.root(index) == column.root(index - 1)
            }
            _ => false,
        };
        index > 0 && [index, index - 1].iter().all(|row| column.broken(*row).is_none()) && is_same()
    }

    /// The bytes of item `index`, or the reason why they cannot be read.
    pub fn read(&self, index: usize) -> Result<Cow<'a, [u8]>, String> {
        match self.source {
            Source::Column(column, _) if column.broken(index).is_some() => {
                Err(column.broken(index).unwrap_or_default().to_owned())
            }
            Source::Column(column, Cells::Files) if column.cell(index).is_empty() => {
                Err(match column.holds_members() {
                    true => format!("it has no `{}`", column.name()),
                    false => "the cell is empty; it should name a file".into(),
                })
            }
            Source::Column(column, Cells::Files) if column.holds_members() => match self.item(index).read()? {
                bytes if bytes.is_empty() => Err("it has no bytes".to_owned()),
                bytes => Ok(bytes),
            },
            Source::Column(column, Cells::Files) => {
                self.item(index).read().map_err(|reason| reason + no_path(column.cell(index)))
            }
            Source::Column(column, Cells::Texts) if *self.modality == Modality::Text => {
                let cell = column.cell(index);
                no_text(cell).map_or(Ok(Cow::Borrowed(cell)), Err)
            }
            _ => self.item(index).read(),
        }
    }

    /// The number of item `index` in messages, from 1: its row in its file.
    pub fn number(&self, index: usize) -> usize {
        match self.source {
            Source::Column(column, _) => column.number(index),
            Source::List(_) => index + 1,
        }
    }

    /// A doubt about a column, judged by its first items: texts that name files, or files of which none exists.
    pub fn doubt(&self) -> Option<&'static str> {
        let Source::Column(column, cells) = self.source else { return None };
        let mut first = 0..column.len().min(FIRST);
        match (cells, self.is_empty()) {
            (_, true) => None,
            _ if column.holds_members() => None,
            (Cells::Texts, _) if first.clone().all(|row| names_a_file(column, row)) => {
                Some("names files, but the names themselves are taken for the texts")
            }
            (Cells::Texts, _)
                if self.modality != &Modality::Text && first.all(|row| looks_like_a_file(column, row)) =>
            {
                Some("seems to name files that do not exist, so the names themselves are taken for the texts")
            }
            (Cells::Texts, _) => None,
            (Cells::Files, _) => (!first.any(|row| names_a_file(column, row)))
                .then_some("should name files, but the first ones do not exist"),
        }
    }

    /// The name of item `index` in messages.
    pub fn name(&self, index: usize) -> String {
        match self.source {
            Source::Column(column, _) if column.lacks_member(index) => column.sample(index),
            _ => self.item(index).name(),
        }
    }
}

/// What to do about a cell that is no path of this system.
pub(crate) fn no_path(cell: &[u8]) -> &'static str {
    if [&b"http://"[..], b"https://", b"s3://", b"gs://"].iter().any(|start| cell.starts_with(start)) {
        "; the cell is a URL, and only files are read: download it, and name the file"
    } else if cfg!(unix) && cell.contains(&b'\\') {
        "; write `/` between folders, not `\\`"
    } else {
        ""
    }
}

fn names_a_file(column: Column<'_>, row: usize) -> bool {
    !column.cell(row).is_empty() && column.file(row).exists()
}

/// True for one word that ends like the name of a file.
fn looks_like_a_file(column: Column<'_>, row: usize) -> bool {
    let path = column.file(row);
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    let is_word = !column.cell(row).iter().any(u8::is_ascii_whitespace);
    let is_ending = (1..=5).contains(&ending.len()) && ending.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_word && is_ending && ending.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dataset::read_table;

    #[test]
    fn a_picture_with_several_captions_repeats_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        std::fs::write(&path, "file,caption\na.png,x\na.png,y\nb.png,z\na.png,x\n").unwrap();
        let table = read_table(&path).unwrap();
        let repeats = |column: &str, modality: &Modality| {
            let items = Items::new(table.column(column).unwrap(), modality, None);
            (0..items.len()).map(|row| items.repeats(row)).collect::<Vec<_>>()
        };
        assert_eq!(repeats("file", &Modality::Image), [false, true, false, false]);
        assert_eq!(repeats("caption", &Modality::Text), [false; 4]);
    }

    #[test]
    fn a_modality_of_ones_own_holds_files_or_texts() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("a.bin"), [1, 2, 3]).unwrap();
        let path = folder.path().join("t.tsv");
        std::fs::write(&path, "files\ttexts\na.bin\t{\"x\": 1}\nnone.bin\t{\"x\": 2}\n").unwrap();
        let table = read_table(&path).unwrap();
        let modality = Modality::from("tabular".to_owned());
        let kind = |column: &str, row, kind| Items::new(table.column(column).unwrap(), &modality, kind).read(row);
        let read = |column: &str, row| kind(column, row, None);
        assert_eq!(read("files", 0).unwrap(), &[1, 2, 3][..]);
        assert!(read("files", 1).unwrap_err().contains("none.bin"));
        std::fs::write(folder.path().join("u.tsv"), "file\nhttps://x.org/a.png\nsub\\a.png\n").unwrap();
        let table = read_table(&folder.path().join("u.tsv")).unwrap();
        let items = Items::new(table.column("file").unwrap(), &Modality::Image, None);
        assert!(items.read(0).unwrap_err().contains("the cell is a URL"));
        assert!(cfg!(not(unix)) || items.read(1).unwrap_err().contains("write `/` between folders"));
        assert_eq!(kind("files", 0, Some(ItemKind::Text)).unwrap(), &b"a.bin"[..]);
        assert!(kind("texts", 0, Some(ItemKind::File)).is_err());
        assert_eq!(read("texts", 1).unwrap(), &b"{\"x\": 2}"[..]);
    }
}
