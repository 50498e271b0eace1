//! The strips or tiles of a TIFF file, put together.

use fusemix_sdk::ItemError;

use super::compression::{JPEG, decompress};
use super::header::{Colours, Header};
use super::{cut, damaged};

/// The samples of each pixel that are seen, row by row, 8 bits each: the upper 8 of more bits, and fewer as they are.
pub(super) fn samples(file: &[u8], header: &Header<'_>) -> Result<Vec<u8>, ItemError> {
    let (width, height, seen) = (header.width as usize, header.height as usize, header.seen());
    let [across, down] = header.grid();
    let row = header.row().ok_or_else(|| damaged("its rows are too long"))?;
    let mut all = vec![0; width * height * seen];
    let planes = if header.planar { seen } else { 1 };
    for plane in 0..planes {
        for at in 0..across * down {
            let (left, top) = (at % across * header.chunk[0], at / across * header.chunk[1]);
            let right = width.min(left + header.chunk[0]);
            let bottom = height.min(top + header.chunk[1]);
            // A last strip ends with the picture, a last tile does not.
            let rows = if header.tiled { header.chunk[1] } else { bottom - top };
            let bytes = chunk(file, header, plane * across * down + at, rows, row)?;
            let mut values = Vec::new();
            for (y, bytes) in (top..bottom).zip(bytes.chunks_exact(row)) {
                values.clear();
                read(bytes, header, &mut values);
                let start = (y * width + left) * seen;
                let to = all[start..start + (right - left) * seen].chunks_exact_mut(seen);
                match header.planar {
                    true => to.zip(&values).for_each(|(pixel, &value)| pixel[plane] = value),
                    false => to
                        .zip(values.chunks_exact(header.samples))
                        .for_each(|(pixel, values)| pixel.copy_from_slice(&values[..seen])),
                }
            }
        }
    }
    Ok(all)
}

/// The bytes of a chunk: `rows` of `row` bytes.
fn chunk(file: &[u8], header: &Header<'_>, index: usize, rows: usize, row: usize) -> Result<Vec<u8>, ItemError> {
    let place = header.offsets.get(index).and_then(|&place| usize::try_from(place).ok()).ok_or_else(cut)?;
    let rest = file.get(place..).ok_or_else(cut)?;
    let data = match header.sizes.get(index) {
        Some(&size) => rest.get(..usize::try_from(size).unwrap_or(usize::MAX)).ok_or_else(cut)?,
        // Some writers leave the sizes out.
        None => rest,
    };
    let Colours::Ycc(of) = header.colours else { return decompress(data, header, rows, rows * row) };
    if header.compression == JPEG || header.planar || header.bits != 8 || header.samples != 3 {
        return Err(damaged("its brightness and colours are stored in an unusual way"));
    }
    let blocks = [header.chunk[0].div_ceil(of[0]), rows.div_ceil(of[1])];
    let block = of[0] * of[1] + 2;
    let data = decompress(data, header, rows, blocks[0] * blocks[1] * block)?;
    let mut bytes = vec![0; rows * row];
    for (at, values) in data.chunks_exact(block).enumerate() {
        let (left, top) = (at % blocks[0] * of[0], at / blocks[0] * of[1]);
        let (brightness, colour) = values.split_at(block - 2);
        for (at, &value) in brightness.iter().enumerate() {
            let (x, y) = (left + at % of[0], top + at / of[0]);
            if x < header.chunk[0] && y < rows {
                bytes[y * row + 3 * x..][..3].copy_from_slice(&[value, colour[0], colour[1]]);
            }
        }
    }
    Ok(bytes)
}

/// Appends the values of a row of samples.
fn read(row: &[u8], header: &Header<'_>, values: &mut Vec<u8>) {
    let (bits, apart) = (header.bits, header.together());
    match bits {
        8 => {
            values.extend_from_slice(row);
            if header.differences {
                for at in apart..values.len() {
                    values[at] = values[at].wrapping_add(values[at - apart]);
                }
            }
        }
        16 => {
            let value =
                |pair: &[u8; 2]| if header.big_endian { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
            let mut wide: Vec<u16> = row.as_chunks::<2>().0.iter().map(value).collect();
            if header.differences {
                for at in apart..wide.len() {
                    wide[at] = wide[at].wrapping_add(wide[at - apart]);
                }
            }
            values.extend(wide.iter().map(|value| (value >> 8) as u8));
        }
        _ => values.extend((0..row.len() * 8 / bits).map(|at| packed(row, at * bits, bits))),
    }
}

/// The number in `bits` from the bit `start` on, the highest first; of more than 8, the upper 8.
fn packed(row: &[u8], start: usize, bits: usize) -> u8 {
    let byte = |at: usize| u32::from(row.get(start / 8 + at).copied().unwrap_or(0));
    let three = byte(0) << 16 | byte(1) << 8 | byte(2);
    let number = three >> (24 - bits - start % 8) & ((1 << bits) - 1);
    (number >> bits.saturating_sub(8)) as u8
}
