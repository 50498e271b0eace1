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
    /// Items that may wait for a tower.
    pub queue: usize,
    /// Connections at once.
    pub connections: usize,
    /// Bytes of all bodies in memory at once.
    pub memory: usize,
    /// The longest that the head, or the body, of a request may take to arrive.
    pub arrival: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 32 << 20,
            items: 2048,
            pixels: 100_000_000,
            queue: 4096,
            connections: 1024,
            memory: 512 << 20,
            arrival: Duration::from_secs(30),
        }
    }
}
