//! Files that are broken on purpose: they fail alone, with little memory and time.

use candle_core::Result;
use candle_kit::{Layer, Pooling};

use super::*;
use crate::model::Model;

/// A model that panics over windows that begin loudly.
struct Touchy;

impl Model for Touchy {
    fn preprocessing(&self) -> String {
        "none".to_owned()
    }
    fn rate(&self) -> u32 {
        16_000
    }
    fn window(&self) -> usize {
        16_000
    }
    fn width(&self, _: Layer) -> usize {
        1
    }
    fn blocks(&self) -> usize {
        1
    }
    fn poolings(&self, _: Layer) -> &'static [Pooling] {
        &[Pooling::Mean]
    }
    fn sounding(&self, _: usize, _: Layer) -> usize {
        1
    }
    fn mels(&self, samples: &[f32]) -> Vec<f32> {
        assert!(samples[0] < 0.9, "too loud");
        vec![samples[0]]
    }
    fn features(&self, samples: &[f32]) -> Vec<f32> {
        self.mels(samples)
    }
    fn forward(&self, features: Vec<f32>, windows: usize, _: Layer) -> Result<Tensor> {
        Tensor::from_vec(features, (windows, 1, 1), &Device::Cpu)
    }
}

#[test]
fn a_spectrogram_that_panics_costs_its_sound_alone() {
    let encoder = CandleAudio { model: Box::new(Touchy), ..open(&checkpoint("whisper")) };
    let quiet = wav(&[0.5; 20_000], 16_000, 1);
    // In its second window.
    let loud = wav(&[[0.5; 16_000], [0.95; 16_000]].concat(), 16_000, 1);
    let outcomes = encode(&encoder, &[quiet.clone(), loud, quiet]);
    let [Ok(first), Err(error), Ok(last)] = &outcomes[..] else { panic!("{outcomes:?}") };
    assert!(first == last && error.message.contains("panicked while making its spectrogram"), "{error}");
}

/// `file` with `bytes` at `place`.
fn with(mut file: Vec<u8>, place: usize, bytes: &[u8]) -> Vec<u8> {
    file[place..][..bytes.len()].copy_from_slice(bytes);
    file
}

#[test]
fn what_a_header_claims_is_not_believed() {
    let (knock, flac, caf) = (sound("knock.wav"), sound("rattle.flac"), sound("sine.caf"));
    // The description of a CAF file's packets.
    let desc = 20;
    let list = [&knock[..36], b"LIST\xf0\xff\xff\xff", &knock[36..]].concat();
    let tag = b"ID3\x04\0\0\x7f\x7f\x7f\x7f";
    let cases = [
        ("bytes", with(knock.clone(), 40, &[0xf0, 0xff, 0xff, 0x6f]), "the file is truncated"),
        ("bytes of a list", list, "the file is truncated"),
        ("channels", with(with(knock.clone(), 22, &[0xff, 0xff]), 32, &[0xfe, 0xff]), "claims 65535 channels"),
        ("no channels", with(knock.clone(), 22, &[0, 0]), "claims 0 channels"),
        ("no rate", with(knock, 24, &[0; 4]), "its sample rate is 0 Hz"),
        ("longest block", with(with(flac.clone(), 8, &[0xff; 4]), 20, &[flac[20] | 0x0e]), "the file is truncated"),
        ("channels of a packet", with(caf, desc + 24, &[0xff; 4]), "claims 65535 channels"),
        ("a tag", [tag, &sound("sine.mp3")[..]].concat(), "the file is truncated"),
    ];
    for (name, file, says) in cases {
        let message = samples(&file, 16_000).expect_err(name).message;
        assert!(message.contains(says), "{name}: {message}");
    }
}

#[test]
fn an_ogg_file_of_255_channels_is_refused() {
    // The header of the first page is 28 bytes long, with a checksum at 22; eleven bytes of the stream's stand before
    // its channels.
    let mut file = with(sound("tune.ogg"), 28 + 11, &[255]);
    let page = 28 + 30;
    file[22..26].fill(0);
    let crc = file[..page].iter().fold(0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte) << 24, |crc, _| crc << 1 ^ if crc >> 31 == 1 { 0x04c1_1db7 } else { 0 })
    });
    file[22..26].copy_from_slice(&crc.to_le_bytes());
    let message = samples(&file, 16_000).unwrap_err().message;
    assert!(message.contains("only a maximum of 32 channels"), "{message}");
}

#[test]
fn rates_with_little_in_common_are_refused_before_they_take_memory() {
    let outcomes = encode(&open(&checkpoint("whisper")), &[44_101, 767_999].map(|rate| wav(&[0.5; 2000], rate, 1)));
    assert!(outcomes[0].is_ok());
    let refused = &outcomes[1].as_ref().unwrap_err().message;
    assert!(refused.contains("cannot convert its sample rate of 767999 Hz to the model's 16000 Hz"), "{refused}");
}

/// A cover of two megabytes before the sound, in which frames of MP3 seem to begin, and a tag of the older kind behind
/// it.
#[test]
fn tags_are_no_part_of_the_sound() {
    let mp3 = sound("sine.mp3");
    let cover = b"\xff\xfb\x90\x64 a picture".repeat(150_000);
    let size = [21, 14, 7, 0].map(|shift| (cover.len() >> shift & 127) as u8);
    let tagged = [&b"ID3\x04\0\0"[..], &size, &cover, &mp3, b"TAG", &[0; 125]].concat();
    assert!(samples(&tagged, 16_000) == samples(&mp3, 16_000));
}
