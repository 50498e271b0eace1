//! The tags of a TIFF file that say where its samples are and what they mean.

use fusemix_sdk::ItemError;

use super::{compression, damaged, unread};
use crate::orientation::Directory;

const WIDTH: u16 = 256;
const HEIGHT: u16 = 257;
const BITS: u16 = 258;
const COMPRESSION: u16 = 259;
const PHOTOMETRIC: u16 = 262;
const FILL_ORDER: u16 = 266;
const STRIP_OFFSETS: u16 = 273;
const SAMPLES: u16 = 277;
const ROWS: u16 = 278;
const STRIP_SIZES: u16 = 279;
const PLANAR: u16 = 284;
const FAX_OPTIONS: u16 = 292;
const PREDICTOR: u16 = 317;
const PALETTE: u16 = 320;
const TILE_WIDTH: u16 = 322;
const TILE_HEIGHT: u16 = 323;
const TILE_OFFSETS: u16 = 324;
const TILE_SIZES: u16 = 325;
const EXTRA: u16 = 338;
const FORMAT: u16 = 339;
const JPEG_TABLES: u16 = 347;
const LUMA: u16 = 529;
const SUBSAMPLING: u16 = 530;
const RANGE: u16 = 532;

/// The most samples of a pixel: of pictures for people, whatever else they have.
const MOST_SAMPLES: usize = 64;

/// What the samples of a pixel are, before those that are extra.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Colours {
    /// Grey, with white as 0 or as the largest value.
    Grey {
        inverted: bool,
    },
    Palette,
    Rgb,
    Cmyk,
    /// Brightness and two differences, each of which may be of several pixels: across and down.
    Ycc([usize; 2]),
}

/// The sample that says how much of a pixel is seen.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Alpha {
    None,
    Beside,
    /// The colours were multiplied by it.
    Within,
}

pub(super) struct Header<'a> {
    pub(super) width: u32,
    pub(super) height: u32,
    pub(super) bits: usize,
    /// Samples of a pixel, extra ones included.
    pub(super) samples: usize,
    pub(super) colours: Colours,
    pub(super) alpha: Alpha,
    pub(super) compression: u16,
    /// They are brightness and two differences before JPEG's decoder makes colours of them.
    pub(super) ycc: bool,
    /// Each row is differences of neighbours.
    pub(super) differences: bool,
    /// The lowest bit of each byte comes first.
    pub(super) reversed: bool,
    /// Each sample has chunks of its own.
    pub(super) planar: bool,
    pub(super) big_endian: bool,
    /// Width and height of a strip or a tile; a strip may have fewer rows, a tile has all of them.
    pub(super) chunk: [usize; 2],
    pub(super) tiled: bool,
    /// Places and sizes of the chunks.
    pub(super) offsets: Vec<u64>,
    pub(super) sizes: Vec<u64>,
    /// All values of red, of green, of blue.
    pub(super) palette: Vec<u64>,
    pub(super) tables: &'a [u8],
    /// Shares of red, green and blue in brightness.
    pub(super) luma: [f32; 3],
    /// Black and white of brightness, none and most of the differences.
    pub(super) range: [f32; 6],
    pub(super) fax_options: u64,
}

impl<'a> Header<'a> {
    pub(super) fn read(file: &'a [u8]) -> Result<Self, ItemError> {
        let directory = Directory::first(file).ok_or_else(|| damaged("it has no directory"))?;
        let numbers = |tag| numbers(&directory, tag);
        let number = |tag| numbers(tag).first().copied();
        let side = |tag| number(tag).and_then(|side| u32::try_from(side).ok()).filter(|&side| side > 0);
        let (Some(width), Some(height)) = (side(WIDTH), side(HEIGHT)) else {
            return Err(damaged("its width or height is missing"));
        };
        let samples = number(SAMPLES).map_or(1, |samples| samples as usize);
        let (extra, bits) = (numbers(EXTRA), numbers(BITS));
        let bits = if bits.is_empty() { vec![1] } else { bits };
        if bits.iter().any(|&other| other != bits[0]) {
            return Err(unread("its samples have different numbers of bits"));
        }
        let bits = bits[0] as usize;
        let compression = number(COMPRESSION).map_or(1, |method| method as u16);
        let colours = match number(PHOTOMETRIC).unwrap_or(0) {
            inverted @ 0..=1 => Colours::Grey { inverted: inverted == 0 },
            2 => Colours::Rgb,
            3 => Colours::Palette,
            5 => Colours::Cmyk,
            // JPEG's decoder makes them RGB.
            6 if compression == compression::JPEG => Colours::Rgb,
            6 => match numbers(SUBSAMPLING)[..] {
                [] => Colours::Ycc([2, 2]),
                [across @ 1..=4, down @ 1..=4] => Colours::Ycc([across as usize, down as usize]),
                _ => return Err(damaged("its colours are of an impossible number of pixels")),
            },
            8..=10 => return Err(unread("its colours are CIELab")),
            32803 | 34892 => return Err(unread("its colours are those of a camera's sensor")),
            32844 | 32845 => return Err(unread("its colours are LogLuv")),
            other => return Err(unread(&format!("its colours are of kind {other}"))),
        };
        let own = colours.samples();
        if !(own..=MOST_SAMPLES).contains(&samples) {
            return Err(damaged(&format!("its pixels have {samples} samples")));
        }
        if let Some(range) = without_range(bits, number(FORMAT).unwrap_or(1)) {
            return Err(ItemError::new(format!(
                "the picture's samples are {range}, and nothing says which are black and white: convert it to a PNG or \
                 TIFF of 8 bits first"
            )));
        }
        let alpha = match extra.first() {
            Some(1) if samples > own => Alpha::Within,
            Some(2) if samples > own => Alpha::Beside,
            // As Pillow has it: what nobody names is alpha if it is alone.
            None if samples == own + 1 => Alpha::Beside,
            _ => Alpha::None,
        };
        let tiled = number(TILE_WIDTH).is_some();
        let tags = if tiled { [TILE_OFFSETS, TILE_SIZES] } else { [STRIP_OFFSETS, STRIP_SIZES] };
        let chunk = match tiled {
            true => [TILE_WIDTH, TILE_HEIGHT].map(number).map(|side| side.unwrap_or(0) as usize),
            false => [width as usize, number(ROWS).unwrap_or(u64::MAX).min(height.into()) as usize],
        };
        if chunk.contains(&0) {
            return Err(damaged("its tiles or strips are empty"));
        }
        let differences = match number(PREDICTOR).unwrap_or(1) {
            2 if compression::predicts(compression) => true,
            3 if compression::predicts(compression) => {
                return Err(unread("its differences are of floating-point numbers"));
            }
            _ => false,
        };
        if differences && ![8, 16].contains(&bits) {
            return Err(unread(&format!("its differences are of {bits} bits")));
        }
        Ok(Self {
            width,
            height,
            bits,
            samples,
            colours,
            alpha,
            compression,
            ycc: number(PHOTOMETRIC) == Some(6),
            differences,
            reversed: number(FILL_ORDER) == Some(2),
            planar: number(PLANAR) == Some(2) && samples > 1,
            big_endian: directory.big_endian,
            chunk,
            tiled,
            offsets: numbers(tags[0]),
            sizes: numbers(tags[1]),
            palette: numbers(PALETTE),
            tables: directory.value(JPEG_TABLES).map_or(&[], |(_, tables)| tables),
            luma: rationals(&directory, LUMA).filter(|[_, green, _]| *green > 0.0).unwrap_or([0.299, 0.587, 0.114]),
            range: rationals(&directory, RANGE).unwrap_or([0.0, 255.0, 128.0, 255.0, 128.0, 255.0]),
            fax_options: number(FAX_OPTIONS).unwrap_or(0),
        })
    }

    /// Samples of a pixel that are seen: its colours and its alpha.
    pub(super) fn seen(&self) -> usize {
        self.colours.samples() + usize::from(self.alpha != Alpha::None)
    }

    /// Samples of a pixel that lie beside one another.
    pub(super) fn together(&self) -> usize {
        if self.planar { 1 } else { self.samples }
    }

    /// Bytes of a row of a chunk.
    pub(super) fn row(&self) -> Option<usize> {
        Some(self.chunk[0].checked_mul(self.together())?.checked_mul(self.bits)?.div_ceil(8))
    }

    /// Chunks that lie side by side, and below one another.
    pub(super) fn grid(&self) -> [usize; 2] {
        [(self.width as usize).div_ceil(self.chunk[0]), (self.height as usize).div_ceil(self.chunk[1])]
    }

    /// Tiles may be larger than the picture, by so much that a small file does not cost long.
    pub(super) fn check_room(&self, room: u64) -> Result<(), ItemError> {
        const SPARE: u64 = 1 << 26;
        let chunk = self.row().and_then(|row| row.checked_mul(self.chunk[1]));
        let picture = u64::from(self.width) * u64::from(self.height) * self.samples as u64 * 2;
        let fits = chunk.is_some_and(|chunk| chunk as u64 <= room.min(picture.saturating_add(SPARE)));
        if fits { Ok(()) } else { Err(damaged("its tiles are far larger than a picture may be")) }
    }
}

impl Colours {
    pub(super) fn samples(self) -> usize {
        match self {
            Self::Grey { .. } | Self::Palette => 1,
            Self::Rgb | Self::Ycc(_) => 3,
            Self::Cmyk => 4,
        }
    }
}

/// The whole numbers of a tag.
fn numbers(directory: &Directory<'_>, tag: u16) -> Vec<u64> {
    let Some((kind, value)) = directory.value(tag) else { return Vec::new() };
    let size = match kind {
        1 => 1,
        3 => 2,
        4 | 13 => 4,
        16 => 8,
        _ => return Vec::new(),
    };
    value.chunks_exact(size).map(|number| directory.unsigned(number)).collect()
}

/// The fractions of a tag.
fn rationals<const N: usize>(directory: &Directory<'_>, tag: u16) -> Option<[f32; N]> {
    const FRACTION: u16 = 5;
    let (_, value) = directory.value(tag).filter(|(kind, value)| *kind == FRACTION && value.len() >= 8 * N)?;
    let number = |at: usize| directory.unsigned(&value[at..at + 4]) as f32;
    let values: [f32; N] = std::array::from_fn(|at| number(8 * at) / number(8 * at + 4));
    Some(values).filter(|values| values.iter().all(|value| value.is_finite()))
}

/// The name of samples whose range nothing says.
fn without_range(bits: usize, format: u64) -> Option<String> {
    match format {
        3 => Some(format!("floating-point numbers of {bits} bits")),
        2 => Some(format!("signed whole numbers of {bits} bits")),
        5 | 6 => Some("complex numbers".to_owned()),
        _ if bits == 0 || bits > 16 => Some(format!("whole numbers of {bits} bits")),
        _ => None,
    }
}
