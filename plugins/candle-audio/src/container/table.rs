//! Packets that lie one after the other, and whose sizes a table of their file says.

use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::trim::Span;

/// The packets of a file that are not read yet.
pub(crate) struct Table<'a> {
    params: AudioCodecParameters,
    span: Span,
    data: &'a [u8],
    /// Bytes and samples of each packet.
    packets: std::vec::IntoIter<(usize, u64)>,
}

impl<'a> Table<'a> {
    /// `None` if there are fewer data than the table says.
    pub(crate) fn new(
        params: AudioCodecParameters,
        span: Span,
        data: &'a [u8],
        packets: Vec<(usize, u64)>,
    ) -> Option<Self> {
        let bytes = packets.iter().try_fold(0usize, |sum, (bytes, _)| sum.checked_add(*bytes))?;
        (bytes <= data.len()).then(|| Self { params, span, data, packets: packets.into_iter() })
    }

    pub(crate) fn params(&self) -> &AudioCodecParameters {
        &self.params
    }

    pub(crate) fn span(&self) -> Span {
        self.span
    }

    pub(crate) fn next(&mut self) -> Option<Packet> {
        let (bytes, samples) = self.packets.next()?;
        let (packet, rest) = self.data.split_at(bytes);
        self.data = rest;
        Some(Packet::new(0, Timestamp::ZERO, Duration::from(samples), packet))
    }
}
