//! Drawings in SVG, which have no pixels of their own. Nothing outside the file is read: no other files, no network, and
//! no fonts, so text is left out.

use fusemix_sdk::ItemError;
use image::{ImageReader, RgbImage};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::{ImageHrefResolver, Options, Tree};
use std::fmt::Display;
use std::io::Cursor;

/// Bytes in which the root element of a drawing begins.
const PROLOGUE: usize = 1 << 16;

/// Whether `file` reads as SVG.
pub(crate) fn is_svg(file: &[u8]) -> bool {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file).trim_ascii_start();
    file.starts_with(b"<") && file[..file.len().min(PROLOGUE)].windows(4).any(|tag| tag == b"<svg")
}

/// Pixels of a drawing: each of its nested groups may take as many again.
const MOST: u64 = 1 << 23;

/// The drawing on white, its short side `short` pixels.
pub(crate) fn draw(
    file: &[u8],
    short: u32,
    check: impl Fn(u32, u32) -> Result<(), ItemError> + Sync + Send,
) -> Result<RgbImage, ItemError> {
    let embedded = ImageHrefResolver::default_data_resolver();
    let fits = |file: &[u8]| match ImageReader::new(Cursor::new(file))
        .with_guessed_format()
        .map(|reader| reader.into_dimensions())
    {
        Ok(Ok((width, height))) => check(width, height).is_ok(),
        _ => is_svg(file),
    };
    let options = Options {
        image_href_resolver: ImageHrefResolver {
            resolve_data: Box::new(|kind, file, options| fits(&file).then(|| embedded(kind, file, options)).flatten()),
            resolve_string: Box::new(|_, _| None),
        },
        ..Options::default()
    };
    let tree = Tree::from_data(file, &options).map_err(undrawable)?;
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = short as f32 / width.min(height);
    // Saturates where a side is absurd.
    let [across, down] = [width, height].map(|side| 1.max((side * scale).round() as u32));
    check(across, down)?;
    if u64::from(across) * u64::from(down) > MOST {
        return Err(undrawable(format!("{across}x{down} pixels are too many for a drawing")));
    }
    let mut pixels = Pixmap::new(across, down).ok_or_else(|| undrawable("no memory for its pixels"))?;
    pixels.fill(Color::WHITE);
    let transform = Transform::from_scale(across as f32 / width, down as f32 / height);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    let rgb = pixels.data().chunks_exact(4).flat_map(|rgba| [rgba[0], rgba[1], rgba[2]]).collect();
    RgbImage::from_raw(across, down, rgb).ok_or_else(|| undrawable("its pixels are not all there"))
}

fn undrawable(error: impl Display) -> ItemError {
    ItemError::new(format!("the drawing does not read as SVG: {error}"))
}
