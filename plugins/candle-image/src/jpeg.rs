//! Whether a JPEG is all there: the decoder greys out what is missing and says nothing.

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;

/// Whether the end of the first picture follows its start. True of anything that is no JPEG.
pub(crate) fn is_whole(file: &[u8]) -> bool {
    let Some(mut rest) = file.strip_prefix(&[0xff, START_OF_IMAGE]) else { return true };
    while let Some((kind, after)) = next_marker(rest) {
        rest = match kind {
            END_OF_IMAGE => return true,
            // Markers without a segment, and bytes of 0xff among compressed data, which a zero follows.
            0x00 | 0x01 | 0xd0..=0xd8 => after,
            _ => match after.first_chunk() {
                Some(&length) => after.get(usize::from(u16::from_be_bytes(length))..).unwrap_or_default(),
                None => return false,
            },
        };
    }
    false
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
    use super::is_whole;
    use std::path::Path;

    #[test]
    fn only_up_to_the_end_of_the_picture() {
        let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden/images");
        for name in ["rgb.jpg", "grey.jpg"] {
            let file = std::fs::read(images.join(name)).unwrap();
            assert!(is_whole(&file), "{name}");
            for end in 2..file.len() {
                assert!(!is_whole(&file[..end]), "{name}, cut at {end} of {}", file.len());
            }
            // What a camera leaves behind the picture.
            assert!(is_whole(&[&file[..], b"\xff\xd8\xff\xe1 and more"].concat()), "{name}");
            // A preview in the header is no end, nor is what its length says beyond the file.
            let preview = b"\xff\xe1\x00\x06\xff\xd8\xff\xd9";
            assert!(!is_whole(&[&file[..2], preview, &file[2..file.len() / 2]].concat()), "{name}");
            assert!(is_whole(&[&file[..2], preview, &file[2..]].concat()), "{name}");
        }
        assert!(!is_whole(b"\xff\xd8\xff\xe1\xff\xff\xff\xd9") && is_whole(b"GIF89a") && is_whole(b""));
    }
}
