//! A file as an answer: read piece by piece as the client takes it.

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};
use std::fs::File;
use std::io::{self, Read};
use std::pin::Pin;
use std::task::{Context, Poll};

/// Bytes of a piece; the first one tells the file's type.
const PIECE: usize = 64 << 10;

/// A file that is sent.
pub(super) struct Sent {
    file: File,
    /// The next piece; empty at the end.
    next: Bytes,
    /// Bytes of the file behind it.
    left: u64,
}

impl Sent {
    /// The file, whose first piece is read.
    pub(super) fn new(mut file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        let next = piece(&mut file, length)?;
        Ok(Self { file, left: length - next.len() as u64, next })
    }

    /// The first bytes of the file.
    pub(super) fn head(&self) -> &[u8] {
        &self.next
    }
}

/// The next piece of a file that has so many bytes left; it must have them.
fn piece(file: &mut File, left: u64) -> io::Result<Bytes> {
    let mut bytes = vec![0; left.min(PIECE as u64) as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes.into())
}

impl HttpBody for Sent {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let sent = self.get_mut();
        if sent.next.is_empty() {
            return Poll::Ready(None);
        }
        let now = std::mem::take(&mut sent.next);
        if sent.left > 0 {
            // A disk may be slow.
            match tokio::task::block_in_place(|| piece(&mut sent.file, sent.left)) {
                Ok(next) => (sent.left, sent.next) = (sent.left - next.len() as u64, next),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        Poll::Ready(Some(Ok(Frame::data(now))))
    }

    fn is_end_stream(&self) -> bool {
        self.next.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.next.len() as u64 + self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;
    use std::io::{Seek, Write};

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_file_is_sent_whole_or_not_to_its_end() {
        for length in [0, 1, PIECE, 3 * PIECE + 7] {
            let bytes: Vec<u8> = (0..length).map(|at| at as u8).collect();
            let sent = Sent::new(file(&bytes)).unwrap();
            assert_eq!(sent.size_hint().exact(), Some(length as u64));
            assert_eq!(sent.head(), &bytes[..length.min(PIECE)]);
            assert!(sent.collect().await.unwrap().to_bytes() == bytes, "{length}");
        }
        let shrinks = file(&vec![1; 3 * PIECE]);
        let sent = Sent::new(shrinks.try_clone().unwrap()).unwrap();
        shrinks.set_len(2 * PIECE as u64).unwrap();
        assert!(sent.collect().await.is_err());
    }
}
