//! The first frame of a GIF on its canvas, as Pillow has it.

use fusemix_sdk::ItemError;
use gif::{ColorOutput, DecodeOptions, MemoryLimit};
use image::{DynamicImage, Rgba, RgbaImage};
use std::borrow::Cow;

use crate::refusal::{check_size, undecodable};

/// The picture. What the frame does not cover has the transparent colour, else the first one; a frame that reaches
/// beyond the canvas makes it larger.
pub(crate) fn decode(file: &[u8], max_pixels: u64) -> Result<DynamicImage, ItemError> {
    let mut options = DecodeOptions::new();
    options.set_color_output(ColorOutput::Indexed);
    // An index is a byte; the size is checked below.
    options.set_memory_limit(MemoryLimit::Unlimited);
    let file = with_palette(file);
    let mut decoder = options.read_info(&file[..]).map_err(undecodable)?;
    let canvas = [decoder.width(), decoder.height()].map(u32::from);
    check_size(canvas[0], canvas[1], max_pixels)?;
    let global = decoder.global_palette().map(<[u8]>::to_vec);
    let frame = decoder.next_frame_info().map_err(undecodable)?.cloned();
    let frame = frame.ok_or_else(|| undecodable("there is no frame in it"))?;
    let [left, top, across, down] = [frame.left, frame.top, frame.width, frame.height].map(u32::from);
    let (width, height) = (canvas[0].max(left + across), canvas[1].max(top + down));
    check_size(width, height, max_pixels)?;
    let mut indices = vec![0; decoder.buffer_size()];
    decoder.read_into_buffer(&mut indices).map_err(undecodable)?;
    if width == 0 || height == 0 {
        return Err(undecodable("it has no pixels"));
    }
    let palette = frame.palette.as_ref().or(global.as_ref());
    let colour = |index: u8| {
        let colours = palette.map(|palette| palette.as_chunks::<3>().0).unwrap_or_default();
        let rgb = colours.get(usize::from(index)).copied().unwrap_or_default();
        let alpha = if frame.transparent == Some(index) { 0 } else { 255 };
        Rgba([rgb[0], rgb[1], rgb[2], alpha])
    };
    let mut picture = RgbaImage::from_pixel(width, height, colour(frame.transparent.unwrap_or(0)));
    for (row, indices) in indices.chunks_exact(across.max(1) as usize).enumerate() {
        for (column, &index) in indices.iter().enumerate() {
            picture.put_pixel(left + column as u32, top + row as u32, colour(index));
        }
    }
    Ok(picture.into())
}

/// `file` with a palette for all frames, of shades of grey if it had none.
fn with_palette(file: &[u8]) -> Cow<'_, [u8]> {
    /// The place of the flags, and of what follows the screen's description.
    const FLAGS: usize = 10;
    const SCREEN: usize = 13;
    let Some((screen, rest)) = file.split_at_checked(SCREEN) else { return file.into() };
    if screen[FLAGS] & 0x80 != 0 {
        return file.into();
    }
    let mut whole = screen.to_vec();
    whole[FLAGS] |= 0x87;
    whole.extend((0..=255).flat_map(|shade| [shade; 3]));
    whole.extend(rest);
    whole.into()
}
