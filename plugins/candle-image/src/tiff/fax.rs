//! The codes of fax machines: Group 4, and runs of each row alone, with and without marks between rows.

use fax::decoder::{decode_g4, pels};
use fax::maps::{black, white};
use fax::{BitReader, ByteReader, Color};
use fusemix_sdk::ItemError;
use std::convert::Infallible;

use super::header::Header;
use super::{cut, damaged, unread};

const WITHOUT_MARKS: u16 = 2;
const GROUP_3: u16 = 3;

/// Rows of a bit for each pixel, 1 for black.
pub(super) fn decompress(data: &[u8], header: &Header<'_>, rows: usize) -> Result<Vec<u8>, ItemError> {
    let (Ok(width), Ok(height), 1) = (u16::try_from(header.chunk[0]), u16::try_from(rows), header.bits) else {
        return Err(damaged("it is too large for a fax, or not of black and white"));
    };
    let mut bytes = Vec::new();
    let mut put = |ends: &[u16]| {
        let start = bytes.len();
        bytes.resize(start + usize::from(width).div_ceil(8), 0);
        for (at, _) in pels(ends, width).enumerate().filter(|(_, colour)| *colour == Color::Black) {
            bytes[start + at / 8] |= 0x80 >> (at % 8);
        }
    };
    match header.compression {
        GROUP_3 if header.fax_options & 1 == 1 => return Err(unread("its compression is Group 3 in two dimensions")),
        WITHOUT_MARKS | GROUP_3 => alone(data, header.compression == GROUP_3, width, rows, &mut put)?,
        _ => decode_g4(data.iter().copied(), width, Some(height), &mut put)
            .ok_or_else(|| damaged("its Group 4 codes are damaged"))?,
    }
    Ok(bytes)
}

/// Rows that are coded each alone, and begin at a byte where no marks are between them.
fn alone(data: &[u8], marks: bool, width: u16, rows: usize, put: &mut dyn FnMut(&[u16])) -> Result<(), ItemError> {
    let Ok(mut reader) = ByteReader::new(data.iter().map(|&byte| Ok::<_, Infallible>(byte)));
    for _ in 0..rows {
        if marks {
            // Eleven zeros at least, and a one.
            while reader.peek(11) == Some(0) {
                while reader.peek(1) == Some(0) {
                    _ = reader.consume(1);
                }
                _ = reader.consume(1);
            }
        }
        let (mut ends, mut at, mut is_black) = (Vec::new(), 0u16, false);
        while at < width {
            let run = if is_black { black::decode(&mut reader) } else { white::decode(&mut reader) };
            let run = run.ok_or_else(cut)?;
            at = at.checked_add(run).filter(|&at| at <= width).ok_or_else(|| damaged("its fax codes are damaged"))?;
            // Longer runs are several codes, the last of which is below 64.
            if run < 64 {
                ends.push(at);
                is_black = !is_black;
            }
        }
        put(&ends);
        if !marks {
            _ = reader.consume(reader.bits_to_byte_boundary());
        }
    }
    Ok(())
}
