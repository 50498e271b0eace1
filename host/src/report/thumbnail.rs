//! Thumbnails small enough to embed in a page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageFormat, ImageReader, Limits};
use std::io::{BufRead, Cursor, Seek};
use std::path::Path;

/// The longer side of a thumbnail, in pixels.
const SIDE: u32 = 128;
/// The most bytes of memory for a picture; larger ones are shown by name.
const MEMORY: u64 = 1 << 30;

/// A thumbnail as a PNG file.
pub struct Picture(Vec<u8>);

impl Picture {
    /// Reads and shrinks a picture; `None` if it cannot be read as one.
    pub fn read(path: &Path) -> Option<Self> {
        Self::shrunk(ImageReader::open(path).ok()?)
    }

    /// Shrinks the picture in these bytes; `None` if they are none.
    pub fn of(bytes: &[u8]) -> Option<Self> {
        Self::shrunk(ImageReader::new(Cursor::new(bytes)))
    }

    fn shrunk(reader: ImageReader<impl BufRead + Seek>) -> Option<Self> {
        let mut reader = reader.with_guessed_format().ok()?;
        let mut limits = Limits::default();
        limits.max_alloc = Some(MEMORY);
        reader.limits(limits);
        let picture = reader.decode().ok()?.thumbnail(SIDE, SIDE);
        let mut png = Cursor::new(Vec::new());
        picture.write_to(&mut png, ImageFormat::Png).ok()?;
        Some(Self(png.into_inner()))
    }

    /// The picture as a `data:` address.
    pub fn data_uri(&self) -> String {
        format!("data:image/png;base64,{}", STANDARD.encode(&self.0))
    }
}
