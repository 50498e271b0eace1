//! The items of a column: text as it stands in the table, or files that it names.

use fusemix_sdk::Modality;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;

use super::table::Column;

/// A file larger than this is not an item.
const LARGEST: u64 = 1 << 30;

/// A column seen as items of a modality, each read when it is asked for.
#[derive(Clone, Copy)]
pub struct Items<'a> {
    column: Column<'a>,
    modality: &'a Modality,
}

impl<'a> Items<'a> {
    /// `column` holds items of `modality`.
    pub fn new(column: Column<'a>, modality: &'a Modality) -> Self {
        Self { column, modality }
    }

    /// Items.
    pub fn len(&self) -> usize {
        self.column.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.column.is_empty()
    }

    /// What they are.
    pub fn modality(&self) -> &'a Modality {
        self.modality
    }

    /// The bytes of item `index`, or why they cannot be read.
    pub fn read(&self, index: usize) -> Result<Cow<'a, [u8]>, String> {
        match self.modality {
            Modality::Text => Ok(Cow::Borrowed(self.column.cell(index))),
            _ if self.column.cell(index).is_empty() => Err("the cell is empty; it should name a file".into()),
            _ => self.read_file(index).map(Cow::Owned),
        }
    }

    fn read_file(&self, index: usize) -> Result<Vec<u8>, String> {
        let path = self.column.file(index);
        let mut bytes = Vec::new();
        let read = File::open(&path).and_then(|file| {
            bytes.reserve(file.metadata()?.len().min(LARGEST) as usize);
            file.take(LARGEST + 1).read_to_end(&mut bytes)
        });
        match read {
            Err(error) => Err(format!("cannot read {}: {error}", path.display())),
            Ok(_) if bytes.len() as u64 > LARGEST => Err(format!("{} is larger than 1 GiB", path.display())),
            Ok(_) => Ok(bytes),
        }
    }

    /// What is odd about the column, judged by its first items: texts that name files, or files of which none is there.
    pub fn doubt(&self) -> Option<&'static str> {
        const FIRST: usize = 5;
        let mut first = 0..self.len().min(FIRST);
        let is_path = |index| !self.column.cell(index).is_empty() && self.column.file(index).exists();
        match (self.modality, self.is_empty()) {
            (_, true) => None,
            (Modality::Text, _) => first.all(is_path).then_some("names files, and each name is taken for the text"),
            _ => (!first.any(is_path)).then_some("should name files, and those that it names first are not there"),
        }
    }

    /// How a message calls item `index`.
    pub fn name(&self, index: usize) -> String {
        match self.modality {
            Modality::Text => {
                let text = String::from_utf8_lossy(self.column.cell(index));
                let start: String = text.chars().take(40).collect();
                format!("{start:?}{}", if start.len() < text.len() { "..." } else { "" })
            }
            _ => self.column.file(index).display().to_string(),
        }
    }
}
