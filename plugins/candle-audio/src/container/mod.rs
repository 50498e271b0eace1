//! What is read of a file before its packets are: the containers of blocks, the names of codecs, and the delay and
//! padding of encoders that a container announces.

mod aiff;
mod au;
mod blocks;
mod caf;
mod codec;
mod flac;
mod matroska;
mod mp4;
mod mp4_codec;
pub(crate) mod mpeg;
pub(crate) mod ogg;
mod table;
mod tags;
mod trim;
mod wave;

use fusemix_sdk::ItemError;
use std::borrow::Cow;
use symphonia::core::codecs::audio::AudioCodecParameters;

pub(crate) use blocks::Blocks;
pub(crate) use codec::unsupported;
pub(crate) use table::Table;
pub(crate) use trim::{Span, Trim};

/// What a file has inside.
pub(crate) enum Content<'a> {
    Blocks(Blocks<'a>),
    Table(Table<'a>),
    /// A container of packets, or a stream of them: the file itself, or what it wraps.
    Packets(&'a [u8]),
}

/// The content of a file. Its codec is refused by name where the file's kind is read here.
pub(crate) fn read(file: &[u8]) -> Result<Content<'_>, ItemError> {
    let read = wave::read(file).or_else(|| aiff::read(file)).or_else(|| au::read(file)).or_else(|| caf::read(file));
    read.unwrap_or(Ok(Content::Packets(file)))
}

/// `file` without what is before and behind the sound, and that readers of packets trip over.
pub(crate) fn bare(file: &[u8]) -> &[u8] {
    matroska::whole(flac::whole(tags::untagged(file)))
}

/// The name of the file's codec, if it is one that is not supported.
pub(crate) fn unknown_codec(file: &[u8]) -> Option<String> {
    let named = ogg::first_packet(file).and_then(codec::ogg).or_else(|| codec::file(file));
    named.map(str::to_owned).or_else(|| mp4_codec::unknown(file)).or_else(|| matroska::unknown_codec(file))
}

/// The parts of the track's samples that the container says are the sound.
pub(crate) fn spans(file: &[u8], track: u32, rate: u32) -> Vec<Span> {
    let matroska = || matroska::span(file, track, rate).map(|span| vec![span]);
    mp4::spans(file, track, rate).or_else(matroska).unwrap_or_else(|| vec![Span::default()])
}

/// `file` as its reader of packets can take it.
pub(crate) fn readable(file: &[u8]) -> Cow<'_, [u8]> {
    mp4::with_one_entry(file)
}

/// True of a file that claims so much that its reader would take long to find out.
pub(crate) fn is_impossible(file: &[u8]) -> bool {
    mp4::counts_beyond(file)
}

/// The track of sound and its codec's parameters, where the reader of packets does not know them.
pub(crate) fn params(file: &[u8]) -> Option<(u32, AudioCodecParameters)> {
    mp4_codec::params(file)
}

/// Mends what the reader of packets says of a track's codec.
pub(crate) fn mend(file: &[u8], track: u32, params: &mut AudioCodecParameters) {
    mp4::mend(file, track, params);
}

/// The bytes at `at`, if the file has them.
fn array<const N: usize>(file: &[u8], at: usize) -> Option<[u8; N]> {
    file.get(at..)?.first_chunk().copied()
}
