//! JPEG decoding identical to libjpeg-turbo's, which Pillow and torchvision use (the standard leaves the last bits, and
//! the upsampling of colours, to each decoder).

use fusemix_sdk::ItemError;
use image::{DynamicImage, RgbImage};
use mozjpeg::{ColorSpace, ColorSpaceExt, Decompress, Marker};
use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::orientation::Notes;
use crate::refusal::{check_size, undecodable};

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;
/// The most scans of a picture: a progressive file has about ten, and each costs the time of all pixels, however short
/// it is.
const MOST_SCANS: usize = 200;

/// The picture, upright.
pub(crate) fn decode(file: &[u8], max_pixels: u64) -> Result<DynamicImage, ItemError> {
    match scans(file) {
        None => return Err(undecodable("the file is truncated: it ends within the picture")),
        Some(scans) if scans > MOST_SCANS => {
            return Err(undecodable(format!("it has {scans} scans; at most {MOST_SCANS} are allowed")));
        }
        Some(_) => {}
    }
    caught(|| read(file, max_pixels))
}

/// What the library cannot go on with is a panic, with its message.
fn caught<T>(read: impl FnOnce() -> Result<T, ItemError>) -> Result<T, ItemError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let message = panic.downcast_ref().map_or("its decoder panicked", String::as_str);
        let message = message.trim_start_matches("libjpeg fatal error: ");
        let error = undecodable(message);
        Err(if message.contains("Insufficient memory") { ItemError::transient(error.message) } else { error })
    })
}

/// The samples of a file inside another kind of file, which says what they mean.
pub(crate) struct Stored {
    pub(crate) width: usize,
    pub(crate) channels: usize,
    pub(crate) samples: Vec<u8>,
}

/// Samples as they are, but RGB in place of brightness and differences if `ycc`. The end's marker may be missing.
pub(crate) fn stored(mut file: Vec<u8>, ycc: bool, max_pixels: u64) -> Result<Stored, ItemError> {
    if scans(&file).is_none() {
        file.extend([0xff, END_OF_IMAGE]);
    }
    match scans(&file) {
        Some(1..=MOST_SCANS) => {}
        _ => return Err(undecodable("the file is truncated, or its JPEG data are damaged")),
    }
    caught(|| {
        let decoder = Decompress::new_mem(&file).map_err(undecodable)?;
        // A strip may be coded with the rows that its last block has beyond it.
        let pixels = (decoder.width() as u64).saturating_mul(decoder.height() as u64);
        if pixels > max_pixels.saturating_mul(2).saturating_add(1 << 16) {
            return Err(undecodable("its JPEG data are larger than its tags say"));
        }
        let kind = match decoder.color_space() {
            ColorSpace::JCS_YCbCr if ycc => ColorSpace::JCS_RGB,
            kind => kind,
        };
        let mut started = decoder.to_colorspace(kind).map_err(undecodable)?;
        let (width, channels) = (started.width(), started.color_space().num_components());
        Ok(Stored { width, channels, samples: started.read_scanlines::<u8>().map_err(undecodable)? })
    })
}

fn read(file: &[u8], max_pixels: u64) -> Result<DynamicImage, ItemError> {
    let decoder = Decompress::with_markers(&[Marker::APP(1)]).from_mem(file).map_err(undecodable)?;
    let [width, height] = [decoder.width(), decoder.height()].map(|side| side as u32);
    check_size(width, height, max_pixels)?;
    let orientation = notes(decoder.markers().map(|marker| marker.data)).orientation();
    let pixels = match decoder.color_space() {
        ColorSpace::JCS_CMYK | ColorSpace::JCS_YCCK => {
            let mut started = decoder.to_colorspace(ColorSpace::JCS_CMYK).map_err(undecodable)?;
            let inks: Vec<[u8; 4]> = started.read_scanlines().map_err(undecodable)?;
            inks.into_iter().map(rgb).collect()
        }
        _ => decoder.rgb().and_then(|mut started| started.read_scanlines()).map_err(undecodable)?,
    };
    let picture = RgbImage::from_raw(width, height, pixels.into_flattened()).expect("all rows, or an error");
    let mut picture = DynamicImage::from(picture);
    picture.apply_orientation(orientation);
    Ok(picture)
}

/// The notes in the first application's segments: EXIF may go on in a second one, and the last XMP packet counts.
fn notes<'a>(segments: impl Iterator<Item = &'a [u8]>) -> Notes<'a> {
    let mut notes = Notes::default();
    for segment in segments {
        if let Some(exif) = segment.strip_prefix(b"Exif\0\0") {
            notes.exif.get_or_insert_default().to_mut().extend_from_slice(exif);
        } else if let Some(xmp) = segment.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            notes.xmp = Some(xmp.into());
        }
    }
    notes
}

/// The colour of inks in Adobe's inverted form, 255 for none, with Pillow's rounding.
pub(crate) fn rgb([cyan, magenta, yellow, black]: [u8; 4]) -> [u8; 3] {
    let black = u32::from(black);
    let over = |ink: u8| {
        let product = (255 - u32::from(ink)) * black + 128;
        (black - (((product >> 8) + product) >> 8)) as u8
    };
    [cyan, magenta, yellow].map(over)
}

/// The number of scans of the first picture, if its end marker follows: the decoder silently greys out missing parts.
fn scans(file: &[u8]) -> Option<usize> {
    let mut rest = file.strip_prefix(&[0xff, START_OF_IMAGE])?;
    let mut scans = 0;
    loop {
        let (kind, after) = next_marker(rest)?;
        scans += usize::from(kind == START_OF_SCAN);
        rest = match kind {
            END_OF_IMAGE => return Some(scans),
            // Markers without a segment, and bytes of 0xff among compressed data: a zero follows them, or damage.
            0x00..=0xbf | 0xd0..=0xd8 => after,
            _ => after.get(usize::from(u16::from_be_bytes(*after.first_chunk()?))..)?,
        };
    }
}

/// The byte that says what a marker is, and what follows it.
fn next_marker(file: &[u8]) -> Option<(u8, &[u8])> {
    let at = file.iter().position(|&byte| byte == 0xff)?;
    let fill = file[at..].iter().position(|&byte| byte != 0xff)?;
    let (kind, after) = file[at + fill..].split_first()?;
    Some((*kind, after))
}

#[cfg(test)]
mod tests {
    use super::scans;
    use std::path::Path;

    #[test]
    fn only_up_to_the_end_of_the_picture() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
        for name in ["rgb.jpg", "grey.jpg"] {
            let file = std::fs::read(images.join(name)).unwrap();
            let is_whole = |file: &[u8]| scans(file).is_some();
            assert_eq!(scans(&file), Some(1), "{name}");
            for end in 0..file.len() {
                assert!(!is_whole(&file[..end]), "{name}, cut at {end} of {}", file.len());
            }
            // What a camera leaves behind the picture.
            assert!(is_whole(&[&file[..], b"\xff\xd8\xff\xe1 and more"].concat()), "{name}");
            // A preview in the header is no end, nor is what its length says beyond the file.
            let preview = b"\xff\xe1\x00\x06\xff\xd8\xff\xd9";
            assert!(!is_whole(&[&file[..2], preview, &file[2..file.len() / 2]].concat()), "{name}");
            assert!(is_whole(&[&file[..2], preview, &file[2..]].concat()), "{name}");
        }
        assert_eq!(scans(b"\xff\xd8\xff\xe1\xff\xff\xff\xd9"), None);
        // Scans, one of which hides in the segment of a marker that has none.
        for scan in [b"\xff\xda\0\x02".as_slice(), b"\xff\x02\0\x06\xff\xda\0\x02"] {
            assert_eq!(scans(&[b"\xff\xd8", &scan.repeat(3)[..], b"\xff\xd9"].concat()), Some(3));
        }
        // Damage that looks like a marker which nobody uses.
        assert_eq!(scans(b"\xff\xd8\xff\xda\0\x02data\xff\x47\xff\xffmore\xff\xd9"), Some(1));
    }
}
