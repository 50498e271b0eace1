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
const GRACE: Duration = Duration::from_secs(30);

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
