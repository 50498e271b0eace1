//! The colours that TIFF's samples are.

use fusemix_sdk::ItemError;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};

use super::damaged;
use super::header::{Alpha, Colours, Header};
use super::ycc;
use crate::jpeg;

/// The picture whose samples are `values`, pixel by pixel.
pub(super) fn picture(header: &Header<'_>, mut values: Vec<u8>) -> Result<DynamicImage, ItemError> {
    let seen = header.seen();
    let own = header.colours.samples();
    if header.bits < 8 && header.colours != Colours::Palette {
        let most = (1u32 << header.bits) - 1;
        values.iter_mut().for_each(|value| *value = (u32::from(*value) * 255 / most) as u8);
    }
    if header.colours == (Colours::Grey { inverted: true }) {
        values.chunks_exact_mut(seen).for_each(|pixel| pixel[0] = 255 - pixel[0]);
    }
    if header.alpha == Alpha::Within && header.colours != Colours::Palette {
        values.chunks_exact_mut(seen).for_each(|pixel| {
            let (colours, alpha) = pixel.split_at_mut(own);
            colours.iter_mut().for_each(|value| *value = divided(*value, alpha[0]));
        });
    }
    let has_alpha = header.alpha != Alpha::None;
    if !matches!(header.colours, Colours::Grey { .. } | Colours::Rgb) {
        let colour = colour(header);
        let mut all = Vec::with_capacity(values.len() / seen * 4);
        for pixel in values.chunks_exact(seen) {
            all.extend(colour(pixel));
            all.extend(&pixel[own..]);
        }
        values = all;
    }
    let (width, height) = (header.width, header.height);
    let picture = match (header.colours, has_alpha) {
        (Colours::Grey { .. }, false) => GrayImage::from_raw(width, height, values).map(Into::into),
        (Colours::Grey { .. }, true) => GrayAlphaImage::from_raw(width, height, values).map(Into::into),
        (_, false) => RgbImage::from_raw(width, height, values).map(Into::into),
        (_, true) => RgbaImage::from_raw(width, height, values).map(Into::into),
    };
    picture.ok_or_else(|| damaged("it has too few pixels"))
}

/// The colour of a pixel's samples.
type Colour<'h> = Box<dyn Fn(&[u8]) -> [u8; 3] + 'h>;

/// The map from a pixel's samples to red, green and blue.
fn colour<'h>(header: &'h Header<'_>) -> Colour<'h> {
    match header.colours {
        // Of 16 bits the upper 8.
        Colours::Palette => Box::new(|pixel| {
            let each = header.palette.len() / 3;
            let (index, colours) = (usize::from(pixel[0]), &header.palette);
            [0, 1, 2].map(|of| if index < each { (colours[of * each + index] >> 8) as u8 } else { 0 })
        }),
        Colours::Cmyk => Box::new(|pixel| jpeg::rgb([0, 1, 2, 3].map(|ink| 255 - pixel[ink]))),
        Colours::Ycc(_) => {
            let of_ycc = ycc::colour(header);
            Box::new(move |pixel| of_ycc([pixel[0], pixel[1], pixel[2]]))
        }
        Colours::Grey { .. } | Colours::Rgb => Box::new(|pixel| [0, 1, 2].map(|at| pixel[at.min(pixel.len() - 1)])),
    }
}

/// A value before alpha was multiplied in, rounded as Pillow does.
fn divided(value: u8, alpha: u8) -> u8 {
    match (u32::from(value) * 255).checked_div(alpha.into()) {
        Some(whole) => whole.min(255) as u8,
        None => value,
    }
}
