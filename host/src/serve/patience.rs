//! A connection whose client must take what is written to it within a time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Bytes a second that a client must take of what waits for it, beside the time in which it may take nothing.
const LEAST: u64 = 16 << 10;

/// A stream that fails once nothing of what is written was taken for so long, or too little since it is written.
pub(super) struct Patient<S> {
    stream: S,
    limit: Duration,
    /// The time since which something waits to be taken, and the bytes that were taken since.
    waits: Option<(Instant, u64)>,
    /// The end of the patience, while a write waits.
    end: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S, limit: Duration) -> Self {
        Self { stream, limit, waits: None, end: None }
    }

    /// The bytes that a write has taken, unless it has waited for too long.
    fn taken(&mut self, written: Poll<io::Result<usize>>, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let (_, taken) = self.waits.get_or_insert_with(|| (Instant::now(), 0));
        if let Poll::Ready(Ok(bytes)) = &written {
            *taken += *bytes as u64;
        }
        self.bounded(written, context)
    }

    /// What a write came to, unless it has waited for too long.
    fn bounded<T>(&mut self, written: Poll<io::Result<T>>, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.end = None;
            return written;
        }
        let end = self.end.get_or_insert_with(|| {
            let now = Instant::now();
            let (since, taken) = self.waits.unwrap_or((now, 0));
            let due = since + Duration::from_millis(taken.saturating_mul(1000) / LEAST);
            Box::pin(sleep_until(now.min(due) + self.limit))
        });
        ready!(end.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing, or too little")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.taken(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, parts);
        self.taken(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // All that was to be written is.
        if flushed.is_ready() {
            self.waits = None;
        }
        self.bounded(flushed, context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.stream).poll_shutdown(context);
        self.bounded(shut, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    /// A client that takes nothing.
    struct Stuck;

    impl AsyncWrite for Stuck {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            Poll::Pending
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// A client that takes a byte now and then.
    struct Slow(Pin<Box<Sleep>>);

    impl Slow {
        fn later() -> Pin<Box<Sleep>> {
            Box::pin(tokio::time::sleep(Duration::from_millis(5)))
        }
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
            ready!(self.0.as_mut().poll(context));
            self.0 = Self::later();
            Poll::Ready(Ok(1))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn a_client_that_takes_too_little_is_given_up() {
        let mut stream = Patient::new(Slow(Slow::later()), Duration::from_millis(100));
        let mut taken = 0;
        let failed = loop {
            match poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"x")).await {
                Ok(bytes) => taken += bytes,
                Err(error) => break error,
            }
            assert!(taken < 1000, "it takes a byte each 5 ms");
        };
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        assert!(taken > 0);
        // Those who have taken all may wait for the next answer.
        let mut stream = Patient::new(Slow(Slow::later()), Duration::from_millis(100));
        for _ in 0..30 {
            poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"x")).await.unwrap();
            poll_fn(|context| Pin::new(&mut stream).poll_flush(context)).await.unwrap();
        }
    }

    #[test]
    fn a_client_that_takes_nothing_is_given_up() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let failed = runtime.block_on(async {
            let mut stream = Patient::new(Stuck, Duration::from_millis(20));
            poll_fn(|context| Pin::new(&mut stream).poll_flush(context)).await.unwrap();
            poll_fn(|context| Pin::new(&mut stream).poll_write(context, b"x")).await.unwrap_err()
        });
        assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
    }
}
