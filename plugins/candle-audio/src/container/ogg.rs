//! The pages of Ogg files: a check that the last one is whole, since decoders do not detect truncation, and the first
//! packet, which names the codec.

/// The header of a page is 27 bytes long, and a table of sizes.
const HEADER: usize = 27;

/// The content of the first page.
pub(crate) fn first_packet(file: &[u8]) -> Option<&[u8]> {
    let page = file.strip_prefix(b"OggS")?;
    let entries = *page.get(HEADER - 5)?;
    page.get(HEADER - 4 + usize::from(entries)..)
}

/// True if `bytes` are an Ogg file that ends within a page or a packet.
pub(crate) fn is_cut(bytes: &[u8]) -> bool {
    if !bytes.starts_with(b"OggS") {
        return false;
    }
    let (mut rest, mut goes_on) = (bytes, false);
    while rest.starts_with(b"OggS") {
        let Some(&entries) = rest.get(HEADER - 1) else { return true };
        let Some(sizes) = rest.get(HEADER..HEADER + usize::from(entries)) else { return true };
        let body: usize = sizes.iter().map(|&size| usize::from(size)).sum();
        // A packet that fills its last piece goes on in the next page. Some writers never mark a last page.
        goes_on = sizes.last() == Some(&255);
        match rest.get(HEADER + sizes.len() + body..) {
            Some(next) => rest = next,
            None => return true,
        }
    }
    goes_on
}
