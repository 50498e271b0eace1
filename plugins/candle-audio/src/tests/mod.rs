//! Tests of what users rely on: files of every kind, and the latents of the reference implementations.

mod containers;
mod files;
mod front_ends;
mod fuzz;
mod goldens;
mod hostile;
mod mutated;
mod whisper_tiny;

use candle_core::{Device, Tensor};
use fusemix_sdk::{Encoder, Host, Item, ItemError, Modality, Options, Outcome, check};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use crate::CandleAudio;
use crate::sound::Sound;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn golden() -> PathBuf {
    root().join("tests/golden")
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|_| panic!("no {}; run ./check, which fetches it", path.display()))
}

/// A file of tests/golden/sounds.
fn sound(name: &str) -> Vec<u8> {
    read(&golden().join("sounds").join(name))
}

/// The options of a checkpoint of tests/golden/checkpoints.
fn checkpoint(family: &str) -> Options {
    Options::default().with("model", golden().join("checkpoints").join(family).to_str())
}

fn expected(path: &Path) -> HashMap<String, Tensor> {
    candle_core::safetensors::load(path, &Device::Cpu).unwrap()
}

fn open(options: &Options) -> CandleAudio {
    CandleAudio::open(options, &Host::detached()).unwrap()
}

fn refused(options: Options) -> String {
    CandleAudio::open(&options, &Host::detached()).err().expect("it opened").message
}

fn encode(encoder: &CandleAudio, files: &[Vec<u8>]) -> Vec<Outcome> {
    let items: Vec<Item<'_>> = files.iter().map(|bytes| Item::new(&Modality::Audio, bytes)).collect();
    check::encode(encoder, &items).unwrap().outcomes
}

fn latents(options: &Options, files: &[Vec<u8>]) -> Vec<Vec<f32>> {
    encode(&open(options), files).into_iter().map(|outcome| outcome.unwrap().values).collect()
}

/// All samples of a file, at `rate`.
fn samples(bytes: &[u8], rate: u32) -> Result<Vec<f32>, ItemError> {
    let mut sound = Sound::open(bytes, rate)?;
    let mut all = Vec::new();
    loop {
        let window = sound.window(1000)?;
        if window.is_empty() {
            return Ok(all);
        }
        assert!(window.len() == 1000 || sound.window(1).unwrap().is_empty(), "a short window within a sound");
        all.extend(window);
    }
}

/// Samples of `channels` channels in turn, as a WAV file of 16 bits.
fn wav(samples: &[f32], rate: u32, channels: u16) -> Vec<u8> {
    let bytes = 2 * samples.len() as u32;
    let frame = 2 * channels;
    let mut file = b"RIFF".to_vec();
    file.extend((36 + bytes).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0");
    file.extend(channels.to_le_bytes());
    file.extend(rate.to_le_bytes());
    file.extend((rate * u32::from(frame)).to_le_bytes());
    file.extend(frame.to_le_bytes());
    file.extend(b"\x10\0data");
    file.extend(bytes.to_le_bytes());
    file.extend(samples.iter().flat_map(|sample| ((sample * 32767.0).round() as i16).to_le_bytes()));
    file
}

fn sine(hertz: f32, rate: u32, seconds: f32) -> Vec<f32> {
    let phase = |at: u32| (f64::from(at) * f64::from(hertz) / f64::from(rate) * std::f64::consts::TAU).sin() as f32;
    (0..(rate as f32 * seconds) as u32).map(|at| 0.5 * phase(at)).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// L2 distance relative to the second one's length.
fn apart(a: &[f32], b: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value * value)).sum::<f64>();
    (square(&mut a.iter().zip(b).map(|(a, b)| a - b)) / square(&mut b.iter().copied())).sqrt()
}
