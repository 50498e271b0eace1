//! The progress of a sound towards its latent.

use fusemix_sdk::ItemError;

use crate::sound::Sound;

/// The rest of a sound, and the results of its windows so far.
pub(crate) struct Progress<'a> {
    /// Nothing, once it is over or has failed.
    sound: Option<Sound<'a>>,
    /// The sum of the windows' latents, each times its samples, and these samples.
    sum: Vec<f64>,
    samples: usize,
    failure: Option<ItemError>,
}

impl<'a> Progress<'a> {
    pub(crate) fn new(sound: Result<Sound<'a>, ItemError>) -> Self {
        let (sound, failure) = match sound {
            Ok(sound) => (Some(sound), None),
            Err(error) => (None, Some(error)),
        };
        Self { sound, sum: Vec::new(), samples: 0, failure }
    }

    pub(crate) fn is_going(&self) -> bool {
        self.sound.is_some()
    }

    /// Samples whose latents are included.
    pub(crate) fn samples(&self) -> usize {
        self.samples
    }

    /// Up to so many windows of `length` samples; the last one of a sound may be shorter.
    pub(crate) fn windows(&mut self, most: usize, length: usize) -> Vec<Vec<f32>> {
        let mut windows = Vec::new();
        while let Some(sound) = self.sound.as_mut().filter(|_| windows.len() < most) {
            match sound.window(length) {
                Ok(window) => {
                    if window.len() < length {
                        self.sound = None;
                    }
                    windows.extend(Some(window).filter(|window| !window.is_empty()));
                }
                Err(error) => self.fail(error),
            }
        }
        windows
    }

    pub(crate) fn fail(&mut self, error: ItemError) {
        (self.sound, self.failure) = (None, Some(error));
    }

    pub(crate) fn add(&mut self, latent: &[f32], samples: usize) {
        self.sum.resize(latent.len(), 0.0);
        self.sum.iter_mut().zip(latent).for_each(|(sum, &value)| *sum += f64::from(value) * samples as f64);
        self.samples += samples;
    }

    pub(crate) fn finish(self, normalize: bool) -> Result<Vec<f32>, ItemError> {
        if let Some(error) = self.failure {
            return Err(error);
        }
        let mut latent: Vec<f32> = self.sum.iter().map(|sum| (sum / self.samples as f64) as f32).collect();
        if normalize {
            candle_kit::normalize(&mut latent);
        }
        Ok(latent)
    }
}
