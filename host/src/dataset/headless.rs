//! Tables without a header that are known by their first lines: the captions and URLs of CC3M and CC12M.

/// Lines that must agree.
const LINES: usize = 20;

/// The format of a text and the names of its two columns, if it is such a table: cells between tabs, of which always
/// the same one is a URL.
pub(super) fn columns(text: &[u8]) -> Option<(&'static str, [&'static str; 2])> {
    let mut found = None;
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).take(LINES) {
        let mut cells = line.splitn(3, |byte| *byte == b'\t');
        let [first, second] = [cells.next()?, cells.next()?].map(is_url);
        let of = match (first, second, cells.next()) {
            (false, true, None) => ("CC3M", ["caption", "url"]),
            (true, false, None) => ("CC12M", ["url", "caption"]),
            _ => return None,
        };
        if found.replace(of).is_some_and(|other| other != of) {
            return None;
        }
    }
    found
}

fn is_url(cell: &[u8]) -> bool {
    cell.starts_with(b"http://") || cell.starts_with(b"https://")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_beside_a_caption_tells_which_it_is() {
        assert_eq!(columns(b"a dog\thttp://x/a.jpg\na cat\thttps://x/b.jpg\r\n").unwrap().1, ["caption", "url"]);
        assert_eq!(columns(b"http://x/a.jpg\ta dog\n").unwrap().0, "CC12M");
        for text in
            ["url\tcaption\nhttp://x\ta\n", "a\thttp://x\nhttp://y\tb\n", "http://x\thttp://y\n", "", "a\tb\tc\n"]
        {
            assert_eq!(columns(text.as_bytes()), None, "{text}");
        }
    }
}
