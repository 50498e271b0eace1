//! A well-behaved encoder that needs no weights: an item's latent is the sum of its words' random vectors.

use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, Modality, OptionKind, OptionSpec, Options, Sink,
};
use std::collections::HashMap;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

struct Mock {
    modality: Modality,
    width: usize,
    salt: String,
    delay: Duration,
    calls: Option<PathBuf>,
    linger: Duration,
    flaky: u32,
    retry: Option<Duration>,
    branch: Option<String>,
    refuses: Option<String>,
    /// The tries of items that say that they are flaky.
    tries: Mutex<HashMap<Vec<u8>, u32>>,
}

impl Encoder for Mock {
    fn options() -> Vec<OptionSpec> {
        vec![
            OptionSpec::new("modality", OptionKind::Text, "the modality of its items (default: text)"),
            OptionSpec::new("width", OptionKind::Integer, "values per latent (default: 16)"),
            OptionSpec::new("salt", OptionKind::Text, "another salt gives other latents"),
            OptionSpec::new("delay_ms", OptionKind::Integer, "milliseconds that a call takes (default: 0)"),
            OptionSpec::new("calls", OptionKind::Text, "a file that gets a line for each item that is encoded"),
            OptionSpec::new("linger_ms", OptionKind::Integer, "milliseconds that a call takes after that (default: 0)"),
            OptionSpec::new("flaky", OptionKind::Integer, "tries of an item with the word `flaky` that fail, and pass"),
            OptionSpec::new("retry_ms", OptionKind::Integer, "milliseconds that it wants between these tries"),
            OptionSpec::new("branch", OptionKind::Text, "a branch, which is at the commit of this name with a `1`"),
            OptionSpec::new("refuses", OptionKind::Text, "a word whose items fail"),
            OptionSpec::new("token", OptionKind::Text, "a key, which nobody should write here").secret(),
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
            linger: Duration::from_millis(options.get_or("linger_ms", 0)?),
            flaky: options.get_or("flaky", 0)?,
            retry: options.get("retry_ms")?.map(Duration::from_millis),
            branch: options.get("branch")?,
            refuses: options.get("refuses")?,
            tries: Mutex::default(),
        })
    }

    fn describe(&self) -> Description {
        let description = Description::new(self.modality.clone(), self.width).batch(8).fingerprint("salt", &self.salt);
        let description = match &self.refuses {
            Some(word) => description.fingerprint("refuses", word),
            None => description,
        };
        match &self.branch {
            Some(branch) => description.pinned("branch", format!("{branch}1")),
            None => description,
        }
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        std::thread::sleep(self.delay);
        if let Some(path) = &self.calls {
            let lines: String = items.iter().map(|item| format!("{}\n", String::from_utf8_lossy(item.bytes))).collect();
            let file = std::fs::OpenOptions::new().create(true).append(true).open(path);
            file.and_then(|mut file| file.write_all(lines.as_bytes()))
                .map_err(|error| Error::new(error.to_string()))?;
        }
        std::thread::sleep(self.linger);
        sink.put_all(items.iter().map(|item| self.passes(item).and_then(|()| self.latent(item))));
        Ok(())
    }
}

impl Mock {
    /// The failure of an item that says that it is flaky, the first times.
    fn passes(&self, item: &Item<'_>) -> Result<(), ItemError> {
        let words = || item.bytes.split(|byte| *byte == b' ');
        if let Some(refused) = &self.refuses
            && words().any(|word| word == refused.as_bytes())
        {
            return Err(ItemError::new(format!("it has the word {refused}")));
        }
        if !item.bytes.windows(5).any(|word| word == b"flaky") {
            return Ok(());
        }
        let mut tries = self.tries.lock().unwrap_or_else(PoisonError::into_inner);
        let tried = tries.entry(item.bytes.to_vec()).or_default();
        *tried += 1;
        if *tried > self.flaky {
            return Ok(());
        }
        let error = ItemError::passing("the server restarts");
        Err(self.retry.map_or(error.clone(), |wait| error.after(wait)))
    }

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
