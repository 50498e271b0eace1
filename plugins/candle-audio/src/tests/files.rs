//! Files of every kind, whole and broken, at any rate.

use super::*;

/// The largest difference from a sine of 1 kHz at 16 kHz, away from the edges.
fn off(samples: &[f32]) -> f32 {
    let sine = sine(1000.0, 16_000, samples.len() as f32 / 16_000.0 + 1.0);
    let middle = 1600..samples.len() - 1600;
    middle.map(|at| (samples[at] - sine[at]).abs()).fold(0.0, f32::max)
}

#[test]
fn a_sine_stays_one_at_any_rate() {
    for (rate, seconds) in [(16_000, 1.0), (44_100, 1.0), (48_000, 1.0), (8_000, 2.0), (22_254, 1.5), (96_000, 0.7)] {
        let source = sine(1000.0, rate, seconds);
        let resampled = samples(&wav(&source, rate, 1), 16_000).unwrap();
        assert_eq!(resampled.len(), (source.len() * 16_000).div_ceil(rate as usize), "{rate}");
        assert!(off(&resampled) < 1e-3, "{rate}: {}", off(&resampled));
    }
}

#[test]
fn what_the_rate_cannot_hold_is_left_out() {
    let resampled = samples(&wav(&sine(9000.0, 44_100, 1.0), 44_100, 1), 16_000).unwrap();
    let loudest = resampled[1600..14_400].iter().fold(0.0f32, |most, sample| most.max(sample.abs()));
    assert!(loudest < 1e-4, "{loudest}");
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
fn lossy_files_hold_the_same_sound() {
    for name in ["sine.mp3", "sine.m4a"] {
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
    for name in ["chirp.flac", "knock.wav", "tune.ogg", "sine.mp3", "sine.m4a"] {
        let whole = sound(name);
        assert!(samples(&whole, 16_000).is_ok(), "{name}");
        for end in [whole.len() / 2, whole.len() * 9 / 10] {
            let cut = samples(&whole[..end], 16_000).map(|samples| samples.len()).map_err(|error| error.message);
            assert_eq!(
                cut,
                Err("the file is cut: it ends within the sound".into()),
                "{name}, {end} of {}",
                whole.len()
            );
        }
    }
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
    let reasons =
        ["an empty file", "no samples in it", "not a sound: ", "not a sound: ", "", "the file is cut", "10 samples"];
    for (at, (outcome, reason)) in outcomes.into_iter().zip(reasons).enumerate() {
        match outcome {
            Ok(latent) => assert!(at == 4 && apart(&latent.values, &alone.values) < 1e-6, "{at}"),
            Err(error) => assert!(at != 4 && error.message.starts_with(reason), "{at}: {}", error.message),
        }
    }
}

/// As programs write it that do not know how long a sound becomes.
#[test]
fn a_wav_of_unknown_length_is_read_to_its_end() {
    let mut file = wav(&sine(1000.0, 16_000, 1.0), 16_000, 1);
    file[4..8].fill(0xff);
    file[40..44].fill(0xff);
    assert_eq!(samples(&file, 16_000).unwrap().len(), 16_000);
}

/// Two hours at 8 kHz are 115 MB as a file of 16 bits, and would be 690 MB at 48 kHz.
#[test]
fn a_long_sound_is_read_window_by_window() {
    let file = wav(&vec![0.25; 2 * 3600 * 8_000], 8_000, 1);
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
    assert_eq!(windows, 720);
}
