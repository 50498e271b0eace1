//! FLAC: where its last frame ends, whatever is behind it, and the header of a stream that comes without one.

use symphonia::core::checksum::{Crc8Ccitt, Crc16Ansi};
use symphonia::core::io::Monitor;

/// Bytes of a frame's header, with its checksum: the least and the most.
const HEADER: [usize; 2] = [6, 16];
/// Bytes at the end of a file among which its last frame is looked for: more than a frame and a tag have.
const REACH: usize = 1 << 20;
/// Places that look like a frame's header before the search is given up.
const TRIES: usize = 8;

/// `file` up to the end of its last frame: a reader takes what follows for a part of it, and drops it as damaged.
pub(crate) fn whole(file: &[u8]) -> &[u8] {
    if !file.starts_with(b"fLaC") {
        return file;
    }
    let from = file.len().saturating_sub(REACH);
    let mut starts = (from..file.len()).rev().filter(|&at| is_header(&file[at..])).take(TRIES);
    starts.find_map(|at| Some(at + end(&file[at..])?)).map_or(file, |end| &file[..end])
}

fn is_header(bytes: &[u8]) -> bool {
    let is_right = |header: &[u8]| {
        let mut sum = Crc8Ccitt::new(0);
        sum.process_buf_bytes(header);
        sum.crc() == 0
    };
    matches!(bytes, [0xff, 0xf8 | 0xf9, ..])
        && (HEADER[0]..=HEADER[1]).any(|length| bytes.get(..length).is_some_and(is_right))
}

/// The last place where the checksum of the frame that `bytes` begin with is right.
fn end(bytes: &[u8]) -> Option<usize> {
    let (mut sum, mut end) = (Crc16Ansi::new(0), None);
    for (at, &byte) in bytes.iter().enumerate() {
        sum.process_byte(byte);
        if sum.crc() == 0 && at > HEADER[1] {
            end = Some(at + 1);
        }
    }
    end
}

/// What a file's header says of the stream that begins with `frame`, as far as the frame says so.
pub(crate) fn stream_info(frame: &[u8], rate: u32, channels: u16) -> Option<Box<[u8]>> {
    const BITS: [u64; 8] = [0, 8, 12, 0, 16, 20, 24, 32];
    let bits = BITS[usize::from(frame.get(3)? >> 1 & 7)];
    let channels = u64::from(channels).clamp(1, 8);
    // The least and the most samples of a frame, and their bytes, which are unknown.
    let mut info = vec![0, 16, 0xff, 0xff, 0, 0, 0, 0, 0, 0];
    let numbers = u64::from(rate) << 44 | (channels - 1) << 41 | bits.checked_sub(1)? << 36;
    info.extend(numbers.to_be_bytes());
    info.extend([0; 16]);
    Some(info.into())
}
