//! Tags around a sound, of which its reader knows nothing: ID3v2 before it; ID3v1, ID3v2, APE and Lyrics3 behind it.

use super::array;

/// The header of an ID3v2 tag, and its footer where there is one.
const ID3V2: usize = 10;
/// ID3v1, and what some put before it.
const ID3V1: usize = 128;
const ENHANCED: usize = 227;
/// The footer of an APE tag, and its header where there is one.
const APE: usize = 32;

/// `file` without tags. Those before the sound would be searched in vain, and a cover may be megabytes long; those
/// behind it would be taken for its last packet.
pub(crate) fn untagged(mut file: &[u8]) -> &[u8] {
    while let Some([b'I', b'D', b'3', _, _, flags, size @ ..]) = file.first_chunk::<ID3V2>() {
        let footer = if flags & 0x10 == 0 { 0 } else { ID3V2 };
        file = file.get(ID3V2 + id3_size(size) + footer..).unwrap_or_default();
    }
    while let Some(rest) = tag(file).and_then(|length| file.len().checked_sub(length)) {
        file = &file[..rest];
    }
    file
}

/// The length of the tag at the end of `file`.
fn tag(file: &[u8]) -> Option<usize> {
    let back = |length: usize| file.len().checked_sub(length);
    let starts = |length: usize, name: &[u8]| back(length).is_some_and(|at| file[at..].starts_with(name));
    if starts(ID3V1, b"TAG") {
        return Some(if starts(ID3V1 + ENHANCED, b"TAG+") { ID3V1 + ENHANCED } else { ID3V1 });
    }
    if starts(APE, b"APETAGEX") {
        let number = |at| array(file, back(APE)? + at).map(u32::from_le_bytes);
        let header = if number(20)? >> 31 == 1 { APE } else { 0 };
        return Some(number(12)? as usize + header).filter(|&length| length >= APE);
    }
    if starts(9, b"LYRICS200") {
        let size = str::from_utf8(&array::<6>(file, back(15)?)?).ok()?.parse::<usize>().ok()?;
        return Some(size + 15).filter(|&length| starts(length, b"LYRICSBEGIN"));
    }
    if starts(9, b"LYRICSEND") {
        // Of the first version, which says no size and has at most 5,100 bytes.
        let from = file.len().saturating_sub(5200);
        return file[from..].windows(11).rposition(|name| name == b"LYRICSBEGIN").map(|at| file.len() - from - at);
    }
    if starts(ID3V2, b"3DI") {
        let size = id3_size(&array::<4>(file, back(4)?)?);
        return Some(size + 2 * ID3V2);
    }
    None
}

/// Four times seven bits.
fn id3_size(bytes: &[u8; 4]) -> usize {
    bytes.iter().fold(0, |size, &byte| size << 7 | usize::from(byte & 0x7f))
}

#[cfg(test)]
mod tests {
    use super::untagged;

    /// A tag of `content`, with its size and the flags of a header, or of a footer alone.
    fn ape(content: &[u8], header: bool) -> Vec<u8> {
        let part = |flags: u32| {
            let numbers = [2000, content.len() as u32 + 32, 1, flags].map(u32::to_le_bytes).concat();
            [b"APETAGEX", &numbers[..], &[0; 8]].concat()
        };
        match header {
            true => [&part(0xa000_0000), content, &part(0x8000_0000)].concat(),
            false => [content, &part(0)].concat(),
        }
    }

    #[test]
    fn tags_of_every_kind_go_one_after_the_other() {
        let (sound, id3v1) = (b"a sound".repeat(20), [&b"TAG"[..], &[0; 125]].concat());
        let lyrics = [&b"LYRICSBEGININD0000200"[..], b"000021LYRICS200"].concat();
        let kinds = [
            id3v1.clone(),
            [&b"TAG+"[..], &[0; 223], &id3v1].concat(),
            ape(b"\xff\xf8 what looks like a frame", true),
            ape(b"words", false),
            lyrics,
            b"LYRICSBEGIN words LYRICSEND".to_vec(),
            b"ID3\x04\0\x10\0\0\0\x05words3DI\x04\0\x10\0\0\0\x05".to_vec(),
        ];
        for kind in &kinds {
            assert!(untagged(&[&sound[..], kind].concat()) == sound, "{}", kind.escape_ascii());
        }
        let all = [&b"ID3\x04\0\0\0\0\0\x05words"[..], &sound, &kinds.concat()].concat();
        assert!(untagged(&all) == sound);
    }

    #[test]
    fn what_claims_more_than_there_is_stays() {
        let sizes = [&b"a sound"[..], &ape(b"", false)].concat();
        let mut long = sizes.clone();
        long[7 + 12..7 + 16].fill(0x7f);
        assert!(untagged(&long) == long);
        for rest in [&b"TAG"[..], b"LYRICS200", b"999999LYRICS200", b"LYRICSEND", b"3DI\x04\0\x10\x7f\x7f\x7f\x7f"] {
            assert!(untagged(rest) == rest, "{}", rest.escape_ascii());
        }
    }
}
