//! Drawings in SVG, which have no pixels of their own. Nothing outside the file is read: no other files, no network,
//! and no fonts, so text is left out.

mod layers;
mod markup;

use fusemix_sdk::ItemError;
use image::{ImageReader, RgbImage};
use resvg::tiny_skia::{Color, Pixmap, Transform};
use resvg::usvg::roxmltree::{Document, ParsingOptions};
use resvg::usvg::{ImageHrefDataResolverFn, ImageHrefResolver, Options, Tree};
use std::fmt::Display;
use std::io::Cursor;
use std::sync::{Mutex, PoisonError};

use crate::refusal::{check_pixels, check_size, one_line};

/// The bytes within which the root element of a drawing must begin.
const PROLOGUE: usize = 1 << 16;
/// The most pixels of a drawing.
const MOST: u64 = 1 << 23;
/// The most elements that may refer to each other in a chain, and the stack bytes that such a chain needs.
const MOST_REFERENCES: usize = 10_000;
const STACK: usize = 1 << 28;

/// True if `file` looks like SVG.
pub(crate) fn is_svg(file: &[u8]) -> bool {
    let file = file.strip_prefix(b"\xef\xbb\xbf").unwrap_or(file).trim_ascii_start();
    file.starts_with(b"<") && file[..file.len().min(PROLOGUE)].windows(4).any(|tag| tag == b"<svg")
}

/// The drawing on white, with a short side of `short` pixels; pictures in it have at most `max_pixels`, each and
/// together.
pub(crate) fn draw(file: &[u8], short: u32, max_pixels: u64) -> Result<RgbImage, ItemError> {
    let text = std::str::from_utf8(file).map_err(undrawable)?;
    let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
    let document = Document::parse_with_options(text, options).map_err(undrawable)?;
    let refers = ["pattern", "mask", "clipPath", "filter", "marker"];
    let references = document.descendants().filter(|node| refers.contains(&node.tag_name().name())).count();
    if references > MOST_REFERENCES {
        return Err(undrawable(format!("{references} patterns, masks, clips, filters and markers are too many")));
    }
    let draw = || draw_document(&document, short, max_pixels);
    // The parser and the painter call themselves for each reference.
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, draw).map_err(undrawable)?;
        thread.join().unwrap_or_else(|_| Err(undrawable("its renderer panicked")))
    })
}

fn draw_document(document: &Document<'_>, short: u32, max_pixels: u64) -> Result<RgbImage, ItemError> {
    markup::check(document).map_err(undrawable)?;
    let embedded = Embedded { max_pixels, pixels: Mutex::new(Ok(0)) };
    let tree = Tree::from_xmltree(document, &embedded.options()).map_err(undrawable)?;
    embedded.pixels.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    let (width, height) = (tree.size().width(), tree.size().height());
    let scale = short as f32 / width.min(height);
    // Saturates where a side is absurd.
    let [across, down] = [width, height].map(|side| 1.max((side * scale).round() as u32));
    check_size(across, down, max_pixels)?;
    if u64::from(across) * u64::from(down) > MOST {
        return Err(undrawable(format!("{across}x{down} pixels are too many for a drawing")));
    }
    let transform = Transform::from_scale(across as f32 / width, down as f32 / height);
    layers::check(tree.root(), transform, [across, down]).map_err(undrawable)?;
    let mut pixels = Pixmap::new(across, down).ok_or_else(|| undrawable("not enough memory for its pixels"))?;
    pixels.fill(Color::WHITE);
    resvg::render(&tree, transform, &mut pixels.as_mut());
    let rgb = pixels.data().chunks_exact(4).flat_map(|rgba| [rgba[0], rgba[1], rgba[2]]).collect();
    RgbImage::from_raw(across, down, rgb).ok_or_else(|| undrawable("its pixels are incomplete"))
}

/// The pictures within a drawing: their pixels, each as often as it is drawn, or the reason why they are refused.
struct Embedded {
    max_pixels: u64,
    pixels: Mutex<Result<u64, ItemError>>,
}

impl Embedded {
    fn options(&self) -> Options<'_> {
        let read = ImageHrefResolver::default_data_resolver();
        let resolve_data: ImageHrefDataResolverFn<'_> =
            Box::new(move |kind, file, options| if self.admits(&file) { read(kind, file, options) } else { None });
        let image_href_resolver = ImageHrefResolver { resolve_data, resolve_string: Box::new(|_, _| None) };
        Options { image_href_resolver, ..Options::default() }
    }

    /// A picture in a drawing; an unreadable one is left out, as in browsers.
    fn admits(&self, file: &[u8]) -> bool {
        let mut pixels = self.pixels.lock().unwrap_or_else(PoisonError::into_inner);
        let Ok(so_far) = *pixels else { return false };
        let reader = ImageReader::new(Cursor::new(file)).with_guessed_format();
        *pixels = match reader.map(ImageReader::into_dimensions) {
            Ok(Ok((width, height))) => {
                let (pixels, most) = (so_far + u64::from(width) * u64::from(height), self.max_pixels);
                check_pixels(pixels, most, "the pictures in the drawing are")
            }
            _ if is_svg(file) => Err(undrawable("a drawing within a drawing is not supported; draw it in place")),
            _ => return false,
        };
        pixels.is_ok()
    }
}

fn undrawable(error: impl Display) -> ItemError {
    ItemError::new(format!("cannot read the drawing as SVG: {}", one_line(error)))
}
