//! Files of every kind, whole and broken, at any rate.

use super::*;

/// The rates that models read.
const MODELS: [u32; 3] = [16_000, 32_000, 48_000];

/// The largest difference from a sine of so many `hertz` at `rate`, away from the edges.
fn off(samples: &[f32], hertz: f32, rate: u32) -> f32 {
    let sine = sine(hertz, rate, samples.len() as f32 / rate as f32 + 1.0);
    let edge = rate as usize / 10;
    (edge..samples.len() - edge).map(|at| (samples[at] - sine[at]).abs()).fold(0.0, f32::max)
}

/// Within 1e-4, of which what 16 bits cannot hold is a third.
#[test]
fn a_sine_stays_one_at_any_rate() {
    let sources =
        [8_000, 11_025, 12_000, 16_000, 22_050, 22_254, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000, 192_000];
    for (rate, to) in sources.into_iter().flat_map(|rate| MODELS.map(|to| (rate, to))) {
        for hertz in [440.0, 3000.0] {
            let source = sine(hertz, rate, 0.7);
            let resampled = samples(&wav(&source, rate, 1), to).unwrap();
            assert_eq!(resampled.len(), (source.len() * to as usize).div_ceil(rate as usize), "{rate} to {to}");
            let off = off(&resampled, hertz, to);
            assert!(off < 1e-4, "{hertz} Hz, {rate} to {to}: {off}");
        }
    }
}

#[test]
fn what_the_rate_cannot_hold_is_left_out() {
    for (rate, to) in [(44_100, 16_000), (48_000, 16_000), (44_100, 32_000), (48_000, 32_000), (96_000, 48_000)] {
        let resampled = samples(&wav(&sine(to as f32 * 0.56, rate, 1.0), rate, 1), to).unwrap();
        let middle = &resampled[to as usize / 10..to as usize * 9 / 10];
        let loudest = middle.iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
        assert!(loudest < 1e-4, "{rate} to {to}: {loudest}");
    }
}

#[test]
fn channels_are_averaged() {
    let mono = sine(1000.0, 16_000, 0.5);
    for channels in [2u16, 6] {
        // The first channel has it all, the others nothing.
        let silent = |sample: &f32| std::iter::once(*sample).chain((1..channels).map(|_| 0.0)).collect::<Vec<_>>();
        let several: Vec<f32> = mono.iter().flat_map(silent).collect();
        let mixed = samples(&wav(&several, 16_000, channels), 16_000).unwrap();
        assert_eq!(mixed.len(), mono.len());
        let apart = mixed.iter().zip(&mono).map(|(a, b)| (a - b / f32::from(channels)).abs()).fold(0.0, f32::max);
        assert!(apart < 1e-4, "{channels}: {apart}");
    }
}

#[test]
fn files_of_pcm_hold_the_very_sound() {
    for name in ["sine.aiff", "sine.caf"] {
        let decoded = samples(&sound(name), 16_000).unwrap();
        let off = off(&decoded, 1000.0, 16_000);
        assert!(decoded.len() == 16_000 && off < 1e-4, "{name}: {} samples, {off}", decoded.len());
    }
}

#[test]
fn lossy_files_hold_the_same_sound() {
    for name in ["sine.mp3", "sine.m4a", "sine.aac", "sine.webm"] {
        let decoded = samples(&sound(name), 16_000).unwrap();
        let seconds = decoded.len() as f32 / 16_000.0;
        assert!((seconds - 1.0).abs() < 0.1, "{name}: {seconds} s");
        // The phase is the coder's affair; the loudness and the frequency are not.
        let middle = &decoded[4000..12_000];
        let power = middle.iter().map(|sample| sample * sample).sum::<f32>() / middle.len() as f32;
        let crossings = middle.windows(2).filter(|pair| pair[0] < 0.0 && pair[1] >= 0.0).count();
        assert!((power - 0.125).abs() < 0.005 && crossings.abs_diff(500) <= 1, "{name}: {power}, {crossings}");
    }
}

#[test]
fn short_and_silent_sounds_have_latents() {
    for family in ["whisper", "htsat", "htsat_authors/HTSAT_tiny.ckpt"] {
        let encoder = open(&checkpoint(family));
        let files = [
            wav(&sine(1000.0, 16_000, 0.01), 16_000, 1),
            wav(&[0.5], 8_000, 1),
            wav(&[0.0; 16_000], 16_000, 1),
            wav(&sine(300.0, 44_100, 20.0), 44_100, 1),
        ];
        let latents: Vec<Vec<f32>> =
            encode(&encoder, &files).into_iter().map(|outcome| outcome.unwrap().values).collect();
        assert!(latents.iter().flatten().all(|value| value.is_finite()), "{family}");
        assert!(apart(&latents[0], &latents[2]) > 1e-3, "{family}: 10 ms of a sine are no silence");
    }
}

#[test]
fn a_file_that_was_cut_says_so() {
    for name in ["chirp.flac", "knock.wav", "tune.ogg", "sine.mp3", "sine.m4a", "sine.aiff", "sine.caf", "sine.webm"] {
        let whole = sound(name);
        assert!(samples(&whole, 16_000).is_ok(), "{name}");
        for end in [whole.len() / 2, whole.len() * 9 / 10] {
            let cut = samples(&whole[..end], 16_000).map(|samples| samples.len()).map_err(|error| error.message);
            assert_eq!(
                cut,
                Err("the file is truncated: it ends within the sound".into()),
                "{name}, {end} of {}",
                whole.len()
            );
        }
    }
}

/// Raw AAC announces nothing: what is there is the sound.
#[test]
fn what_nobody_announced_is_not_missed() {
    let whole = sound("sine.aac");
    let half = samples(&whole[..whole.len() / 2], 16_000).unwrap().len() as f32 / 16_000.0;
    assert!((half - 0.5).abs() < 0.1, "{half} s");
}

#[test]
fn what_is_no_sound_fails_alone() {
    let encoder = open(&checkpoint("whisper"));
    let good = sound("knock.wav");
    let alone = encode(&encoder, std::slice::from_ref(&good)).remove(0).unwrap();
    let silent_header = wav(&[], 16_000, 1);
    let picture = read(&golden().join("images/rgb.jpg"));
    let text = b"Not a sound, but a text that is long enough to be searched for one. ".repeat(300);
    let cut = good[..good.len() / 2].to_vec();
    let slow = wav(&[0.5; 100], 10, 1);
    let files = [vec![], silent_header, picture, text, good, cut, slow];
    let outcomes = encode(&encoder, &files);
    let reasons = [
        "an empty file",
        "no samples in it",
        "not a sound: ",
        "not a sound: ",
        "",
        "the file is truncated",
        "its sample rate is 10 Hz",
    ];
    for (at, (outcome, reason)) in outcomes.into_iter().zip(reasons).enumerate() {
        match outcome {
            Ok(latent) => assert!(at == 4 && apart(&latent.values, &alone.values) < 1e-6, "{at}"),
            Err(error) => assert!(at != 4 && error.message.starts_with(reason), "{at}: {}", error.message),
        }
    }
}

#[test]
fn what_is_no_number_fails_alone() {
    let loudest: Vec<f32> = (0..8_000).map(|at| if at / 100 % 2 == 0 { f32::MAX } else { f32::MIN }).collect();
    for (name, samples) in [("not one", vec![f32::NAN]), ("infinite", vec![f32::INFINITY]), ("loudest", loudest)] {
        let mut file = wav(&vec![0.0; 2 * samples.len()], 8_000, 1);
        // Floating point, in four bytes, 32 bits.
        (file[20], file[32], file[34]) = (3, 4, 32);
        file.truncate(44);
        file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        let message = super::samples(&file, 16_000).map(|samples| samples.len()).unwrap_err().message;
        assert_eq!(message, "a sample is not a number, or far too large for audio", "{name}");
    }
}

/// Ten minutes, of which never more than half a second is held: two hours are no different.
#[test]
fn a_long_sound_is_read_window_by_window() {
    let file = wav(&vec![0.25; 600 * 8_000], 8_000, 1);
    let mut sound = Sound::open(&file, 48_000).unwrap();
    let mut windows = 0;
    loop {
        let window = sound.window(480_000).unwrap();
        if window.is_empty() {
            break;
        }
        windows += 1;
        assert_eq!(window.len(), 480_000);
        assert!(sound.held() < 20_000, "{} samples are held", sound.held());
    }
    assert_eq!(windows, 60);
}
