//! What containers say wrongly or besides: sizes, codecs, delay and padding. Expected samples are those of libsndfile
//! and FFmpeg, by tests/golden/containers.py.

use super::*;

/// A file of tests/golden/containers.
fn container(name: &str) -> Vec<u8> {
    read(&golden().join("containers").join(name))
}

fn chunk(name: &[u8], size: u32, body: &[u8]) -> Vec<u8> {
    [name, &size.to_le_bytes(), body].concat()
}

/// 16 bits, 16 kHz, mono.
const FORMAT: &[u8] = b"\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0";

/// A WAV file of `data`, with sizes that may be wrong, and chunks before and behind the data.
fn odd_wav(riff: u32, size: u32, before: &[u8], data: &[u8], behind: &[u8]) -> Vec<u8> {
    let data = chunk(b"data", size, data);
    [&chunk(b"RIFF", riff, b"WAVE")[..], &chunk(b"fmt ", 16, FORMAT), before, &data, behind].concat()
}

/// One second of 16 bits, and as they are read.
fn second() -> (Vec<u8>, Vec<f32>) {
    let values: Vec<i16> = sine(1000.0, 16_000, 1.0).iter().map(|sample| (sample * 32767.0) as i16).collect();
    let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    (bytes, values.iter().map(|&value| f32::from(value) / 32768.0).collect())
}

/// Sizes as programs write them that cannot come back to the header, and other oddities.
#[test]
fn a_wav_is_read_to_its_end_whatever_its_header_says() {
    let (data, expected) = second();
    let size = data.len() as u32;
    let list = chunk(b"LIST", 4, b"INFO");
    for (name, riff, claimed, before, behind) in [
        ("as it should be", 36 + size, size, &b""[..], &b""[..]),
        ("SoX", 0x7fff_f024, 0x7fff_f000, b"", b""),
        ("FFmpeg", u32::MAX, u32::MAX, b"", b""),
        ("LAME", 0x8000_0023, 0x7fff_ffff, b"", b""),
        ("arecord", 0x8000_0024, 0x8000_0000, b"", b""),
        ("zeros", 0, 0, b"", b""),
        ("a zero", 36 + size, 0, b"", b""),
        ("8 too small", 36 + size - 8, size, b"", b""),
        ("RIFF too large", 36 + size + 5000, size, b"", b""),
        ("the header counted", 44 + size, 44 + size, b"", b""),
        ("a chunk behind", 48 + size, size, b"", &list),
        ("a chunk before", 48 + size, size, &list, b""),
        ("an odd chunk, padded", 48 + size, size, b"LIST\x03\0\0\0abc\0", b""),
        ("an odd chunk, not padded", 47 + size, size, b"LIST\x03\0\0\0abc", b""),
    ] {
        let file = odd_wav(riff, claimed, before, &data, behind);
        assert!(samples(&file, 16_000).as_ref() == Ok(&expected), "{name}");
    }
}

#[test]
fn a_wav_that_is_cut_says_so() {
    let (data, _) = second();
    let whole = odd_wav(36 + 32_000, 32_000, b"", &data, b"");
    for end in [20, 40, whole.len() / 2, whole.len() - 1] {
        let message = samples(&whole[..end], 16_000).unwrap_err().message;
        assert!(message.starts_with("the file is truncated"), "{end}: {message}");
    }
}

/// The larger kin of WAV, AIFF, AU and CAF, whole and from pipes.
#[test]
fn other_containers_of_pcm_hold_the_same() {
    let (data, expected) = second();
    let size = data.len() as u64;
    let swapped: Vec<u8> = data.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect();
    let rf64 = |name: &[u8], claimed: u64| {
        let sizes = chunk(b"ds64", 28, &[&(claimed + 72).to_le_bytes()[..], &claimed.to_le_bytes(), &[0; 12]].concat());
        let start = [&chunk(name, u32::MAX, b"WAVE")[..], &sizes, &chunk(b"fmt ", 16, FORMAT)].concat();
        [start, chunk(b"data", u32::MAX, &data)].concat()
    };
    let wave64 = |claimed: u64| {
        let tail = b"\xf3\xac\xd3\x11\x8c\xd1\0\xc0\x4f\x8e\xdb\x8a";
        let start = [b"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\0\0", &[0xff; 8][..], b"wave", tail].concat();
        let format = [b"fmt ", &tail[..], &40u64.to_le_bytes(), FORMAT].concat();
        [start, format, [b"data", &tail[..], &claimed.to_le_bytes(), &data].concat()].concat()
    };
    let aiff = |whole: u32, frames: u32, claimed: u32| {
        let common = [b"COMM\0\0\0\x12\0\x01", &frames.to_be_bytes()[..], b"\0\x10\x40\x0c\xfa\0\0\0\0\0\0\0"].concat();
        let sound = [b"SSND", &claimed.to_be_bytes()[..], &[0; 8], &swapped].concat();
        [b"FORM", &whole.to_be_bytes()[..], b"AIFF", &common, &sound].concat()
    };
    let au = |claimed: u32| {
        let rest = [3u32, 16_000, 1].map(u32::to_be_bytes).concat();
        [b".snd\0\0\0\x18", &claimed.to_be_bytes()[..], &rest, &swapped].concat()
    };
    let caf = |claimed: i64| {
        let rest = [b"lpcm", &[2, 2, 1, 1, 16].map(u32::to_be_bytes).concat()[..]].concat();
        let format = [b"caff\0\x01\0\0desc", &32u64.to_be_bytes()[..], &16_000f64.to_be_bytes(), &rest].concat();
        [&format[..], b"data", &claimed.to_be_bytes(), &[0; 4], &data].concat()
    };
    let rifx = |claimed: u32| {
        let part = |name: &[u8], size: u32, body: &[u8]| [name, &size.to_be_bytes()[..], body].concat();
        let format = [[0, 1, 0, 1], 16_000u32.to_be_bytes(), 32_000u32.to_be_bytes(), [0, 2, 0, 16]].concat();
        let inside = [b"WAVE", &part(b"fmt ", 16, &format)[..], &part(b"data", claimed, &swapped)].concat();
        part(b"RIFX", inside.len() as u32, &inside)
    };
    for (name, file) in [
        ("RIFX", rifx(size as u32)),
        ("RIFX of a pipe", rifx(u32::MAX)),
        ("RF64", rf64(b"RF64", size)),
        ("RF64 of a pipe", rf64(b"RF64", 0)),
        ("RF64 of another", rf64(b"RF64", u64::MAX)),
        ("BW64", rf64(b"BW64", size)),
        ("Wave64", wave64(size + 24)),
        ("Wave64 of a pipe", wave64(u64::MAX)),
        ("Wave64 of SoX", wave64(0)),
        ("AIFF", aiff(54 - 8 + size as u32, 16_000, size as u32 + 8)),
        ("AIFF of FFmpeg in a pipe", aiff(0, 0, 0)),
        ("AIFF of SoX in a pipe", aiff(0x7f00_0050, 0x3f80_0000, 0x7f00_0008)),
        ("AU", au(size as u32)),
        ("AU of a pipe", au(u32::MAX)),
        ("CAF", caf(size as i64 + 4)),
        ("CAF of a pipe", caf(-1)),
    ] {
        assert!(samples(&file, 16_000).map_err(|error| error.message).as_ref() == Ok(&expected), "{name}");
    }
    for (name, file) in [
        ("RIFX", rifx(32_000)),
        ("RF64", rf64(b"RF64", size)),
        ("AIFF", aiff(0, 16_000, size as u32 + 8)),
        ("AU", au(32_000)),
    ] {
        let message = samples(&file[..file.len() - 100], 16_000).unwrap_err().message;
        assert!(message.starts_with("the file is truncated"), "{name}: {message}");
    }
}

#[test]
fn adpcm_has_the_samples_of_libsndfile() {
    for name in ["ima.wav", "ima_stereo.wav", "ima.aifc", "ms.wav", "ms_stereo.wav"] {
        let decoded = samples(&container(name), 16_000).unwrap();
        let expected = samples(&container(&format!("{name}.flac")), 16_000).unwrap();
        assert!(decoded == expected, "{name}: {} and {} samples", decoded.len(), expected.len());
    }
}

/// The lag of an encoder's delay leaves little of the cosine.
#[test]
fn delay_and_padding_that_a_container_announces_are_dropped() {
    let original = samples(&container("original.flac"), 16_000).unwrap();
    for name in ["edits.m4a", "edits.mp4", "gap.m4a", "delay.mka", "delay_mp3.mka", "delay_vorbis.webm"] {
        let decoded = samples(&container(name), 16_000).unwrap();
        // Nobody announces the padding of AAC in Matroska.
        let expected = if name == "delay.mka" { 8192 } else { 8000 };
        let cosine = cosine(&decoded[..8000], &original);
        assert!(decoded.len() == expected && cosine > 0.98, "{name}: {} samples, cosine {cosine}", decoded.len());
    }
}

/// Of fragments, with the index in 64 bits, behind video, with several sample entries, and in codecs that the reader of
/// packets has no settings for. FFmpeg's samples are of 16 bits.
#[test]
fn mp4_has_the_samples_of_ffmpeg() {
    for (name, length) in [
        ("fragments_aac.m4a", 9216),
        ("fragments_alac.m4a", 8000),
        ("fragments_mp3.mp4", 9216),
        ("edit_fragments.m4a", 8192),
        ("vorbis.mp4", 8016),
        ("vorbis_fragments.mp4", 8192),
        ("layer2.mp4", 7583),
        ("layer2_fragments.mp4", 8064),
        ("cookie.mov", 8000),
        ("alaw.mov", 8000),
        ("mulaw.mov", 8000),
        ("far.m4a", 8000),
        ("two_entries.m4a", 8000),
        ("behind_video.mp4", 8000),
        ("no_edits.m4a", 9024),
    ] {
        let [decoded, expected] = [name.to_owned(), format!("{name}.flac")]
            .map(|name| samples(&container(&name), 16_000).unwrap_or_else(|error| panic!("{name}: {error}")));
        let apart = decoded.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(decoded.len() == length && apart < 3e-5, "{name}: {} samples, {apart} apart", decoded.len());
        // A movie's ticks are milliseconds, rounded either way; FFmpeg keeps the padding of Vorbis.
        let most = if name == "vorbis.mp4" { 200 } else { 16 };
        assert!(decoded.len().abs_diff(expected.len()) <= most, "{name}: {} and {}", decoded.len(), expected.len());
    }
}

#[test]
fn a_fragment_of_more_packets_than_bytes_is_told_at_once() {
    let mut file = container("fragments_mp3.mp4");
    let run = file.windows(4).rposition(|name| name == b"trun").unwrap();
    file[run + 8..run + 12].fill(0xff);
    let message = samples(&file, 16_000).unwrap_err().message;
    assert_eq!(message, "cannot decode the sound: a fragment claims an impossible number of packets");
}

/// Two edits of 0.1 s, 0.15 s apart.
#[test]
fn what_is_between_two_edits_is_dropped() {
    let [whole, parts] = ["edits.m4a", "parts.m4a"].map(|name| samples(&container(name), 16_000).unwrap());
    // A millisecond more: a movie's ticks are rounded.
    assert!(parts == [&whole[..1600], &whole[4000..5616]].concat(), "{} samples", parts.len());
}

/// What is no padding is not dropped: an edit list that begins with the media, an absurd delay.
#[test]
fn what_announces_nothing_costs_nothing() {
    let whole = container("gap.m4a");
    let note = whole.windows(8).position(|name| name == b"iTunSMPB").unwrap();
    let mut absurd = whole.clone();
    // The delay's eight digits, behind the name, the data's header, and a number.
    let delay = note + 8 + 16 + 10;
    assert_eq!(&absurd[delay..delay + 8], b"00000400");
    absurd[delay..delay + 8].copy_from_slice(b"00400000");
    // The durations of the packets still say where the padding begins.
    assert_eq!(samples(&absurd, 16_000).unwrap().len(), 1024 + 8000);
    let mut other = whole;
    other[note] = b'x';
    assert_eq!(samples(&other, 16_000).unwrap(), samples(&absurd, 16_000).unwrap());
}

/// An element of EBML, of at most 126 bytes.
fn element(id: &[u8], content: &[u8]) -> Vec<u8> {
    [id, &[0x80 | content.len() as u8][..], content].concat()
}

fn matroska(codec: &[u8], private: &[u8]) -> Vec<u8> {
    let track = [element(b"\xd7", b"\x01"), element(b"\x83", b"\x02"), element(b"\x86", codec)].concat();
    let track = element(b"\xae", &[track, element(b"\x63\xa2", private)].concat());
    let header = element(b"\x1a\x45\xdf\xa3", &element(b"\x42\x82", b"matroska"));
    [header, element(b"\x18\x53\x80\x67", &element(b"\x16\x54\xae\x6b", &track))].concat()
}

fn atom(name: &[u8], content: &[u8]) -> Vec<u8> {
    [&(content.len() as u32 + 8).to_be_bytes()[..], name, content].concat()
}

fn mp4(entry: &[u8]) -> Vec<u8> {
    mp4_of(&atom(entry, &[0; 28]))
}

/// An elementary stream of `object`.
fn mp4a(object: u8) -> Vec<u8> {
    let decoder = [&[4, 13, object][..], &[0; 12]].concat();
    let stream = [&[0; 4][..], &[3, 3 + decoder.len() as u8, 0, 0, 0], &decoder].concat();
    mp4_of(&atom(b"mp4a", &[&[0; 28][..], &atom(b"esds", &stream)].concat()))
}

fn mp4_of(entry: &[u8]) -> Vec<u8> {
    let table = [&[0; 4][..], &[0, 0, 0, 1], entry].concat();
    let media = [
        atom(b"mdhd", &[0; 24]),
        atom(b"hdlr", b"\0\0\0\0\0\0\0\0soun"),
        atom(b"minf", &atom(b"stbl", &atom(b"stsd", &table))),
    ];
    let track = atom(b"trak", &[atom(b"tkhd", &[0; 84]), atom(b"mdia", &media.concat())].concat());
    [atom(b"ftyp", b"isom\0\0\0\0"), atom(b"moov", &track)].concat()
}

#[test]
fn a_codec_that_is_not_supported_is_named() {
    let riff = |format: &[u8]| {
        [chunk(b"RIFF", 100, b"WAVE"), chunk(b"fmt ", format.len() as u32, format), chunk(b"data", 4, &[0; 4])].concat()
    };
    let tag = |tag: u16| [&tag.to_le_bytes()[..], &FORMAT[2..]].concat();
    let bits = |bytes: u8| [&FORMAT[..12], &[bytes, 0, bytes * 8, 0]].concat();
    let aifc = |name: &[u8]| {
        let common = [&[0, 1, 0, 0, 0, 0, 0, 16, 0x40, 0x0c, 0xfa, 0, 0, 0, 0, 0, 0, 0][..], name, &[0, 0]].concat();
        [&b"FORM\0\0\0\0AIFC"[..], &atom_like(b"COMM", &common), &atom_like(b"SSND", &[0; 12])].concat()
    };
    let caf = |name: &[u8]| [b"caff\0\x01\0\0desc\0\0\0\0\0\0\0\x20", &[0; 8][..], name, &[0; 20]].concat();
    let ogg = |packet: &[u8]| [b"OggS\0\x02", &[0; 20][..], &[1, packet.len() as u8], packet].concat();
    let au =
        |encoding: u8| [b".snd\0\0\0\x18\0\0\0\0\0\0\0", &[encoding][..], b"\0\0\x3e\x80\0\0\0\x01", &[0; 8]].concat();
    let wma = matroska(b"A_MS/ACM", &tag(0x161));
    for (file, name) in [
        (riff(&tag(0x31)), "GSM 6.10"),
        (riff(&tag(0x45)), "G.726 ADPCM"),
        (riff(&tag(0x161)), "Windows Media Audio 2"),
        (riff(&tag(0x92)), "AC-3"),
        (riff(&tag(0x1234)), "WAV's format 0x1234"),
        (riff(&bits(8)), "PCM of 64 bits"),
        (aifc(b"MAC3"), "MACE 3:1"),
        (aifc(b"QDM2"), "QDesign Music 2"),
        (caf(b"opus"), "Opus"),
        (caf(b"ms\0\x02"), "Microsoft ADPCM"),
        (au(23), "G.721 (ADPCM of 4 bits)"),
        (mp4(b"ac-3"), "AC-3"),
        (mp4(b"samr"), "AMR (narrow band)"),
        (mp4(b"Opus"), "Opus"),
        (mp4(b"xyz1"), "\"xyz1\""),
        (mp4(b"ec-3"), "E-AC-3"),
        (mp4(b"dtsc"), "DTS"),
        (mp4(b"sawb"), "AMR (wide band)"),
        (mp4a(0xa5), "AC-3"),
        (mp4a(0xa6), "E-AC-3"),
        (mp4a(0xa9), "DTS"),
        (mp4a(0xad), "Opus"),
        (mp4a(0xe1), "QCELP"),
        (mp4a(0xf7), "MPEG-4's object 0xf7"),
        (matroska(b"A_EAC3", b""), "E-AC-3"),
        (matroska(b"A_OPUS", b""), "Opus"),
        (matroska(b"A_XYZ", b""), "\"A_XYZ\""),
        (wma, "Windows Media Audio 2"),
        (ogg(b"OpusHead\x01"), "Opus"),
        (ogg(b"Speex   1.2"), "Speex"),
        (b"wvpk\0\0\0\0".to_vec(), "WavPack"),
        (b"#!AMR\n\x3c".to_vec(), "AMR (narrow band)"),
        (sound("sine.opus"), "Opus"),
    ] {
        let message = samples(&file, 16_000).map(|samples| samples.len()).expect_err(name).message;
        let expected = format!("its codec is {name}, which is not supported; convert it to FLAC or to WAV");
        assert!(message.starts_with(&expected), "{name}: {message}");
    }
}

/// A chunk of AIFF.
fn atom_like(name: &[u8], content: &[u8]) -> Vec<u8> {
    [name, &(content.len() as u32).to_be_bytes(), content].concat()
}

#[test]
fn pcm_of_24_bits_in_quicktime_has_its_first_byte_first() {
    let [decoded, expected] = ["in24.mov", "original.flac"].map(|name| samples(&container(name), 16_000).unwrap());
    assert!(decoded == expected, "{} and {} samples", decoded.len(), expected.len());
}

/// MP3 in WAV is the MP3.
#[test]
fn what_wraps_another_kind_of_file_is_read_as_that() {
    let mp3 = sound("sine.mp3");
    let format = [b"\x55\0", &FORMAT[2..]].concat();
    let wrapped =
        [chunk(b"RIFF", 100, b"WAVE"), chunk(b"fmt ", 16, &format), chunk(b"data", mp3.len() as u32, &mp3)].concat();
    assert!(samples(&wrapped, 16_000) == samples(&mp3, 16_000));
}

/// ALAC in CAF, whose table of packets has room behind its last entry.
#[test]
fn packets_of_a_table_are_read_whole_and_cut_files_named() {
    let whole = container("packets.caf");
    let original = samples(&container("original.flac"), 16_000).unwrap();
    let decoded = samples(&whole, 16_000).unwrap();
    let apart = decoded.iter().zip(&original).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // They were rounded differently.
    assert!(decoded.len() == 4000 && apart < 1e-4, "{} samples, {apart}", decoded.len());
    let again = |file: &[u8]| samples(file, 16_000).map_err(|error| error.message);
    assert_eq!(again(&[&whole[..], b"free\0\0\0\0\0\0\0\x04abcd and more"].concat()), Ok(decoded));
    for end in [60, 100, whole.len() / 2, whole.len() - 1] {
        assert!(again(&whole[..end]).unwrap_err().starts_with("the file is truncated"), "{end}");
    }
}

/// What is behind a whole sound neither cuts nor changes it, whatever it is; and a cut file says so still.
#[test]
fn what_follows_a_sound_is_no_part_of_it() {
    let tag = [&b"TAG"[..], &[b'x'; 125]].concat();
    let footer = [&b"APETAGEX"[..], &[0xd0, 7, 0, 0, 52, 0, 0, 0, 1, 0, 0, 0], &[0; 12]].concat();
    let ape = [&b"\xff\xf8 looks like a frame"[..20], &footer].concat();
    let lyrics = [&b"LYRICSBEGIN words"[..], b"000017LYRICS200", &tag].concat();
    let tails = [tag, ape, lyrics, vec![0; 3000], b"what nobody knows".repeat(200)];
    let mut unknown = container("original.flac");
    // Its number of samples.
    unknown[21] &= 0xf0;
    unknown[22..26].fill(0);
    let ogg = sound("tune.ogg");
    for (name, file) in [
        ("FLAC", container("original.flac")),
        ("FLAC of a pipe", unknown),
        ("MP3", sound("sine.mp3")),
        ("M4A", container("edits.m4a")),
        ("Matroska", container("delay_vorbis.webm")),
        ("CAF", container("packets.caf")),
        ("Ogg", ogg.clone()),
    ] {
        let alone = samples(&file, 16_000).unwrap();
        for tail in &tails {
            let found = samples(&[&file[..], tail].concat(), 16_000).map_err(|error| error.message);
            assert!(found.as_ref() == Ok(&alone), "{name}, {}: {:?}", tail[..9].escape_ascii(), found.map(|f| f.len()));
        }
        let cut = samples(&file[..file.len() * 9 / 10], 16_000);
        assert!(name == "FLAC of a pipe" || cut.is_err(), "{name} cut");
    }
    let adts = sound("sine.aac");
    for tail in &tails[..3] {
        assert!(samples(&[&adts[..], tail].concat(), 16_000) == samples(&adts, 16_000));
    }
    // A last page that is not marked as such.
    let last = ogg.windows(4).rposition(|name| name == b"OggS").unwrap();
    let pages = &ogg[..last];
    assert!(samples(pages, 16_000).is_ok(), "{} bytes", pages.len());
}
