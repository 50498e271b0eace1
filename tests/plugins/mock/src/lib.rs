//! A well-behaved encoder that needs no weights: an item's latent is the sum of its words' random vectors.

use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, Modality, OptionKind, OptionSpec, Options, Sink,
};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

struct Mock {
    modality: Modality,
    width: usize,
    salt: String,
    delay: Duration,
    calls: Option<PathBuf>,
}

impl Encoder for Mock {
    fn options() -> Vec<OptionSpec> {
        vec![
            OptionSpec::new("modality", OptionKind::Text, "the modality of its items (default: text)"),
            OptionSpec::new("width", OptionKind::Integer, "values per latent (default: 16)"),
            OptionSpec::new("salt", OptionKind::Text, "another salt gives other latents"),
            OptionSpec::new("delay_ms", OptionKind::Integer, "milliseconds that a call takes (default: 0)"),
            OptionSpec::new("calls", OptionKind::Text, "a file that gets a line for each item that is encoded"),
        ]
    }

    fn open(options: &Options, _host: &Host) -> Result<Self, Error> {
        fusemix_sdk::tracing::info!(answer = 42, "the mock is open");
        Ok(Self {
            modality: options.get_or("modality", Modality::Text)?,
            width: options.get_or("width", 16)?,
            salt: options.get_or("salt", String::new())?,
            delay: Duration::from_millis(options.get_or("delay_ms", 0)?),
            calls: options.get::<String>("calls")?.map(|path| options.resolve(&path)),
        })
    }

    fn describe(&self) -> Description {
        Description::new(self.modality.clone(), self.width).batch(8).fingerprint("salt", &self.salt)
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        std::thread::sleep(self.delay);
        if let Some(path) = &self.calls {
            let lines: String = items.iter().map(|item| format!("{}\n", String::from_utf8_lossy(item.bytes))).collect();
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(lines.as_bytes()))
                .map_err(|error| Error::new(error.to_string()))?;
        }
        sink.put_all(items.iter().map(|item| self.latent(item)));
        Ok(())
    }
}

impl Mock {
    fn latent(&self, item: &Item<'_>) -> Result<Vec<f32>, ItemError> {
        let mut latent = vec![0.0; self.width];
        for word in item.as_text()?.split_whitespace() {
            let mut random = blake3::Hasher::new().update(self.salt.as_bytes()).update(word.as_bytes()).finalize_xof();
            for value in &mut latent {
                let mut bytes = [0; 4];
                random.fill(&mut bytes);
                *value += i32::from_le_bytes(bytes) as f32 / i32::MAX as f32;
            }
        }
        Ok(latent)
    }
}

fusemix_sdk::export!(Mock);

#[cfg(test)]
mod tests {
    #[test]
    fn conforms() {
        fusemix_sdk::check::conforms::<super::Mock>(&Default::default(), None);
    }
}
