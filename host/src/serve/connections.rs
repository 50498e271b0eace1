//! Connections: accepted up to a bound, each with a time for its requests' heads and for taking answers, and ended once
//! the server is to stop.

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::limits::Limits;
use super::patience::Patient;
use crate::stop::Stop;

/// The wait between looks at the stop flag.
const TICK: Duration = Duration::from_millis(50);
/// The wait after an accept that failed: the process may have no more files.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest wait for requests that are under way at the end.
pub const GRACE: Duration = Duration::from_secs(30);

/// Answers with `router` until somebody asks to stop, and then finishes what is under way.
pub(super) async fn accept(listener: TcpListener, router: Router, limits: &Limits, stop: &Stop) -> io::Result<()> {
    let places = Arc::new(Semaphore::new(limits.connections));
    let under_way = GracefulShutdown::new();
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.arrival).max_buf_size(64 << 10);
    let stopped = async {
        while !stop.is_asked() {
            tokio::time::sleep(TICK).await;
        }
    };
    tokio::pin!(stopped);
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place.map_err(io::Error::other)?,
            () = &mut stopped => break,
        };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!("a connection was not accepted: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            },
            () = &mut stopped => break,
        };
        // An answer of one packet need not wait for another.
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let connection =
            under_way.watch(http.serve_connection(TokioIo::new(Patient::new(stream, limits.arrival)), service));
        tokio::spawn(async move {
            // A client that goes away is no error of the server.
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
            drop(place);
        });
    }
    drop(listener);
    if tokio::time::timeout(GRACE, under_way.shutdown()).await.is_err() {
        tracing::warn!("some requests were still under way after {} s", GRACE.as_secs());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    use crate::serve::answer;
    use crate::serve::memory::Share;

    /// More than the system keeps between two programs.
    const LENGTH: usize = 32 << 20;

    #[tokio::test(flavor = "multi_thread")]
    async fn an_answer_that_is_read_slowly_is_in_the_memory_until_its_end() {
        let memory = Arc::new(Semaphore::new(10));
        let share = memory.clone();
        let large = move || async move { answer::json(vec![b'x'; LENGTH], Some(Share::of(&share, 4))) };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Stop::default();
        let (router, limits) = (Router::new().route("/", get(large)), Limits::default());
        let client = async {
            let asked = memory.clone();
            let read = move || {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
                let mut first = [0; 100];
                stream.read_exact(&mut first).unwrap();
                std::thread::sleep(Duration::from_millis(200));
                let meanwhile = asked.available_permits();
                let mut rest = Vec::new();
                stream.read_to_end(&mut rest).unwrap();
                (meanwhile, first.len() + rest.len())
            };
            let (meanwhile, length) = tokio::task::spawn_blocking(read).await.unwrap();
            assert_eq!(meanwhile, 6, "the client has taken a part");
            assert!(length > LENGTH);
            stop.ask();
        };
        let (ended, ()) = tokio::join!(accept(listener, router, &limits, &stop), client);
        ended.unwrap();
        assert_eq!(memory.available_permits(), 10);
    }
}
