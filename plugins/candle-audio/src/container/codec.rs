//! The names of codecs that are not supported, by what containers call them, and the words of their refusal.

use fusemix_sdk::ItemError;

/// The refusal of a sound for its codec or its kind of file.
pub(crate) fn unsupported(codec: &str) -> ItemError {
    ItemError::new(format!(
        "its codec is {codec}, which is not supported; convert it to FLAC or to WAV with 16-bit PCM, as \
         `ffmpeg -i IN OUT.flac` does"
    ))
}

/// The name of a format tag of WAV.
pub(crate) fn wave(tag: u16) -> String {
    let name = match tag {
        0x02 => "Microsoft ADPCM",
        0x08 | 0x2001 => "DTS",
        0x09 => "DRM",
        0x0a => "Windows Media Audio Voice",
        0x10 => "OKI ADPCM",
        0x11 => "IMA ADPCM",
        0x14 | 0x42 => "G.723",
        0x20 => "Yamaha ADPCM",
        0x22 => "TrueSpeech",
        0x31 => "GSM 6.10",
        0x40 | 0x45 | 0x64 | 0xa0 => "G.726 ADPCM",
        0x62 => "NMS VBXADPCM",
        0x65 | 0x28f => "G.722",
        0x70..=0x75 => "Lucent or Voxware speech",
        0x92 | 0x2000 => "AC-3",
        0x160 => "Windows Media Audio 1",
        0x161 => "Windows Media Audio 2",
        0x162 => "Windows Media Audio Professional",
        0x163 => "Windows Media Audio Lossless",
        0x200 => "Creative ADPCM",
        0x270 => "ATRAC3",
        0x401 => "Intel Music Coder",
        0x500 => "On2 AVC",
        0x704f | 0x4f70 => "Opus",
        0x566f | 0x674f..=0x6751 | 0x676f..=0x6771 => "Vorbis",
        0xa109 => "Speex",
        0xf1ac => "FLAC in WAV",
        0x5346 => "Flash ADPCM",
        0xfffe => "one that only an identifier of 16 bytes names (E-AC-3 is such a one)",
        0x69 => "Xbox IMA ADPCM",
        0x77a1 => "TTA",
        0x5756 => "WavPack",
        _ => return format!("WAV's format 0x{tag:04x}"),
    };
    name.to_owned()
}

/// The name of a code of four letters: a sample entry of MP4, a compression of AIFF-C or CAF.
pub(crate) fn four(code: &[u8; 4]) -> String {
    let name = match code {
        b"ac-3" | b"sac3" => "AC-3",
        b"ec-3" => "E-AC-3",
        b"ac-4" => "AC-4",
        b"dtsc" | b"dtsh" | b"dtsl" | b"dtse" | b"dtsx" | b"dts " | b"DTS " => "DTS",
        b"mlpa" => "Dolby TrueHD",
        b"Opus" | b"opus" => "Opus",
        b"Vrbs" | b"OggV" => "Vorbis",
        b"spex" => "Speex",
        b"samr" => "AMR (narrow band)",
        b"sawb" => "AMR (wide band)",
        b"sawp" => "AMR-WB+",
        b"ima4" => "IMA ADPCM",
        b"MAC3" => "MACE 3:1",
        b"MAC6" => "MACE 6:1",
        b"QDM2" => "QDesign Music 2",
        b"QDMC" => "QDesign Music",
        b"Qclp" | b"sqcp" => "QCELP",
        b"sevc" => "EVRC",
        b"agsm" | b"GSM " => "GSM 6.10",
        b"ilbc" => "iLBC",
        b"G721" | b"G722" | b"G723" | b"G726" | b"G728" => return String::from_utf8_lossy(code).replacen('G', "G.", 1),
        b"wma " | b"wma1" | b"wma2" => "Windows Media Audio",
        b"mha1" | b"mha2" | b"mhm1" | b"mhm2" => "MPEG-H 3D Audio",
        b"iamf" => "IAMF",
        b"dvca" => "DV audio",
        b"NONE" | b"raw " | b"lpcm" | b"sowt" | b"twos" | b"ipcm" | b"fpcm" => "PCM of an unusual form",
        b"alaw" => "A-law (G.711)",
        b"ulaw" => "mu-law (G.711)",
        [b'm', b's', high, low] => return wave(u16::from_be_bytes([*high, *low])),
        b"aac " => "AAC",
        _ => return format!("\"{}\"", code.escape_ascii()),
    };
    name.to_owned()
}

/// The name of the object that an elementary stream of MPEG-4 holds, if it is not decoded.
pub(crate) fn object(kind: u8) -> Option<String> {
    let name = match kind {
        // AAC, the layers of MPEG, and Vorbis.
        0x40 | 0x66..=0x69 | 0x6b | 0xdd => return None,
        0xa0 => "EVRC",
        0xa1 => "SMV",
        0xa5 => "AC-3",
        0xa6 => "E-AC-3",
        0xa7 => "DRA",
        0xa8 => "G.719",
        0xa9..=0xac => "DTS",
        0xad => "Opus",
        0xae => "AC-4",
        0xe1 => "QCELP",
        _ => return Some(format!("MPEG-4's object 0x{kind:02x}")),
    };
    Some(name.to_owned())
}

/// The name of Matroska's identifier of a codec.
pub(crate) fn matroska(id: &str) -> String {
    let name = match id {
        "A_AC3" | "A_AC3/BSID9" | "A_AC3/BSID10" => "AC-3",
        "A_EAC3" => "E-AC-3",
        "A_TRUEHD" => "Dolby TrueHD",
        "A_MLP" => "MLP",
        "A_DTS" | "A_DTS/EXPRESS" | "A_DTS/LOSSLESS" => "DTS",
        "A_OPUS" | "A_OPUS/EXPERIMENTAL" => "Opus",
        "A_TTA1" => "TTA",
        "A_WAVPACK4" => "WavPack",
        "A_MPC" => "Musepack",
        "A_QUICKTIME/QDM2" => "QDesign Music 2",
        "A_QUICKTIME/QDMC" => "QDesign Music",
        "A_REAL/COOK" => "RealAudio Cook",
        "A_REAL/ATRC" => "ATRAC3",
        _ => return format!("\"{}\"", id.escape_debug()),
    };
    name.to_owned()
}

/// The name of the codec whose first packet in Ogg is `packet`.
pub(crate) fn ogg(packet: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 8] = [
        (b"OpusHead", "Opus"),
        (b"Speex   ", "Speex"),
        (b"CELT    ", "CELT"),
        (b"PCM     ", "PCM in Ogg"),
        (b"\x80theora", "Theora (video)"),
        (b"BBCD\0", "Dirac (video)"),
        (b"OVP80", "VP8 (video)"),
        (b"\x80kate", "Kate (text)"),
    ];
    KNOWN.iter().find(|(start, _)| packet.starts_with(start)).map(|(_, name)| *name)
}

/// The name of a kind of file that is a codec of its own, by its first bytes.
pub(crate) fn file(start: &[u8]) -> Option<&'static str> {
    const KNOWN: [(&[u8], &str); 17] = [
        (b"#!AMR-WB", "AMR (wide band)"),
        (b"#!AMR", "AMR (narrow band)"),
        (b"#!SILK", "SILK"),
        (b"\x0b\x77", "AC-3"),
        (b"\x7f\xfe\x80\x01", "DTS"),
        (b"wvpk", "WavPack"),
        (b"TTA1", "TTA"),
        (b"MAC ", "Monkey's Audio"),
        (b"MPCK", "Musepack"),
        (b"MP+", "Musepack"),
        (b"OFR ", "OptimFROG"),
        (b"DSD ", "DSD"),
        (b"FRM8", "DSD"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media Audio"),
        (b".ra\xfd", "RealAudio"),
        (b".RMF", "RealAudio"),
        (b"MThd", "MIDI (notes, not a sound)"),
    ];
    KNOWN.iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| *name)
}
