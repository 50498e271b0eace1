//! Damaged pictures of every format.

use fusemix_fuzzer::{corpus, fuzz};

use super::golden;
use crate::picture::decode;

#[test]
fn fuzz_pictures() {
    let mut pictures = corpus(golden().join("pictures"));
    pictures.extend(corpus(golden().join("images")));
    let kinds = ["rgb, tiles, lzw", "cmyk in planes, strips, lzw", "jpeg 420", "black and white, group3", "BigTIFF"];
    pictures.extend(kinds.map(super::tiffs::file));
    pictures.push(br#"<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><circle r="4"/></svg>"#.to_vec());
    let pieces: [&[u8]; 6] = [b"IHDR", b"IDAT", b"\xff\xda", b"\xff\xc0", b"<use href='#a'/>", b"RIFF"];
    fuzz("pictures", &pictures, &pieces, 1500, |bytes| drop(decode(bytes, 1 << 22, 64)));
}
