//! The side of a picture that is up, from wherever Pillow's `ImageOps.exif_transpose` takes it: EXIF first, and the XMP
//! packet if the EXIF has no such tag.

use image::metadata::Orientation;
use std::borrow::Cow;
use std::ops::Range;

const ORIENTATION: u16 = 0x0112;
const XMP: u16 = 700;
/// Bytes of a value of each of TIFF's types.
const SIZES: [usize; 17] = [0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8, 4, 0, 0, 8];

/// What a picture's file says of its orientation, in EXIF and in XMP.
#[derive(Default)]
pub(crate) struct Notes<'a> {
    pub(crate) exif: Option<Cow<'a, [u8]>>,
    pub(crate) xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Notes<'a> {
    /// A TIFF file is EXIF itself, and its XMP is a tag.
    pub(crate) fn of_tiff(file: &'a [u8]) -> Self {
        let xmp = Directory::first(file).and_then(|directory| directory.value(XMP)).map(|(_, value)| value.into());
        Self { exif: Some(file.into()), xmp }
    }

    /// Damaged EXIF is as much as a picture that stands upright.
    pub(crate) fn orientation(&self) -> Orientation {
        let number = match self.exif.as_deref().map(stripped).filter(|exif| !exif.is_empty()) {
            Some(exif) => match Directory::first(exif) {
                Some(directory) => directory.value(ORIENTATION).map(|(kind, value)| directory.number(kind, value)),
                None => Some(0),
            },
            None => None,
        };
        let number = number.or_else(|| of_xmp(self.xmp.as_deref()?)).unwrap_or(1);
        Orientation::from_exif(number).unwrap_or(Orientation::NoTransforms)
    }
}

/// EXIF without the name that JPEG puts before it, which may be there twice.
fn stripped(exif: &[u8]) -> &[u8] {
    const NAME: &[u8] = b"Exif\0\0";
    let once = exif.strip_prefix(NAME).unwrap_or(exif);
    once.strip_prefix(NAME).filter(|_| once.len() < exif.len()).unwrap_or(once)
}

/// The first digit that stands as `tiff:Orientation="6"` or `<tiff:Orientation>6` in a packet.
fn of_xmp(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    packet.windows(NAME.len()).enumerate().filter(|(_, name)| *name == NAME).find_map(|(at, _)| {
        let rest = &packet[at + NAME.len()..];
        let rest = rest.strip_prefix(b"=\"").or_else(|| rest.strip_prefix(b">"))?;
        rest.first().filter(|digit| digit.is_ascii_digit()).map(|digit| digit - b'0')
    })
}

/// A directory of tags of TIFF or EXIF, of which `file` is all.
pub(crate) struct Directory<'a> {
    file: &'a [u8],
    pub(crate) big_endian: bool,
    /// BigTIFF has numbers of 64 bits.
    big: bool,
    start: usize,
}

impl<'a> Directory<'a> {
    /// `None` if the file has another beginning than these have. Pillow takes some damaged ones, too.
    pub(crate) fn first(file: &'a [u8]) -> Option<Self> {
        let (big_endian, big) = match file.get(..4)? {
            b"II\x2a\0" | b"II\0\x2a" => (false, false),
            b"MM\0\x2a" | b"MM\x2a\0" => (true, false),
            b"II\x2b\0" => (false, true),
            b"MM\0\x2b" => (true, true),
            _ => return None,
        };
        let mut directory = Self { file, big_endian, big, start: 0 };
        directory.start = usize::try_from(if big { directory.at(8..16)? } else { directory.at(4..8)? }).ok()?;
        Some(directory)
    }

    /// The number at these bytes of the file.
    fn at(&self, range: Range<usize>) -> Option<u64> {
        Some(self.unsigned(self.file.get(range)?))
    }

    pub(crate) fn unsigned(&self, bytes: &[u8]) -> u64 {
        let add = |number: u64, byte: &u8| number << 8 | u64::from(*byte);
        if self.big_endian { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
    }

    /// The type and the bytes of the first such tag whose value is whole. What ends the file ends the directory.
    pub(crate) fn value(&self, wanted: u16) -> Option<(u16, &'a [u8])> {
        let (counted, entry, inline) = if self.big { (8, 20, 8) } else { (2, 12, 4) };
        let mut at = self.start.checked_add(counted)?;
        let mut used = 0;
        for _ in 0..self.at(self.start..at)? {
            let end = at.checked_add(entry)?;
            let (tag, kind) = (self.at(at..at + 2)? as u16, self.at(at + 2..at + 4)? as u16);
            let place = end - inline;
            let count = self.at(at + 4..place)?;
            let data = self.file.get(place..end)?;
            at = end;
            let Some(&unit @ 1..) = SIZES.get(usize::from(kind)) else { continue };
            let size = usize::try_from(count).ok().and_then(|count| count.checked_mul(unit)).unwrap_or(usize::MAX);
            let value = if size <= inline {
                &data[..size]
            } else {
                used = size.saturating_add(used);
                if used > self.file.len() {
                    continue;
                }
                let start = usize::try_from(self.unsigned(data)).ok()?;
                self.file.get(start..start.checked_add(size)?)?
            };
            if tag == wanted && !value.is_empty() {
                return Some((kind, value));
            }
        }
        None
    }

    /// The first of a tag's values, if it is a whole number of one digit; 0 if not. Bytes and text are none.
    fn number(&self, kind: u16, value: &[u8]) -> u8 {
        let unit = SIZES[usize::from(kind)];
        let bits = self.unsigned(&value[..unit]);
        let number = match kind {
            3 | 4 | 6 | 8 | 9 | 13 | 16 => bits as f64,
            5 | 10 => {
                let [over, under] = [0, 4].map(|at| self.unsigned(&value[at..at + 4]) as f64);
                over / under
            }
            11 => f32::from_bits(bits as u32).into(),
            12 => f64::from_bits(bits),
            _ => 0.0,
        };
        (1..=8).find(|&whole| f64::from(whole) == number).unwrap_or(0)
    }
}
