//! The bounds of a request.

use std::time::Duration;

/// The bounds of a request, and of all that are under way.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of a body.
    pub body: usize,
    /// Items of a request.
    pub items: usize,
    /// Pixels of a picture.
    pub pixels: u64,
    /// Seconds of a sound.
    pub seconds: u64,
    /// Items that may wait for a tower.
    pub queue: usize,
    /// Connections at once.
    pub connections: usize,
    /// Bytes in memory at once of all that clients have sent, of all that is fetched for them, and of answers; six bodies if
    /// that is more.
    pub memory: usize,
    /// The longest that the head, or the body, of a request may take to arrive, and the longest for which a client may
    /// take nothing of an answer.
    pub arrival: Duration,
    /// Bytes of a file that is fetched.
    pub fetched: usize,
    /// The longest that a file may take to be fetched.
    pub fetch: Duration,
    /// Files that are fetched at once.
    pub fetches: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            items: 2048,
            pixels: 100_000_000,
            seconds: 3600,
            queue: 4096,
            connections: 1024,
            memory: 512 << 20,
            arrival: Duration::from_secs(30),
            fetched: 16 << 20,
            fetch: Duration::from_secs(10),
            fetches: 16,
        }
    }
}
