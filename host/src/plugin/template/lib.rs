//! {name}: an encoder of {modality} items for fusemix.

use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, {kind}Modality, OptionKind, OptionSpec, Options, Sink,
};

/// Counts pairs of adjacent bytes. Replace it with your model.
struct {Type}Encoder {
    width: usize,
}

impl Encoder for {Type}Encoder {
    /// The keys that it accepts in plugins.toml.
    fn options() -> Vec<OptionSpec> {
        vec![OptionSpec::new("width", OptionKind::Integer, "values per latent (default: 64)")]
    }

    /// Loads the model. An error here names the key or the file at fault.
    fn open(options: &Options, _: &Host) -> Result<Self, Error> {
        let width = options.get_or("width", 64)?;
        if width == 0 {
            return Err(Error::config("`width = 0`: a latent needs at least one value").key("width"));
        }
        Ok(Self { width })
    }

    /// The facts that fusemix needs. The fingerprint must name everything that changes latents: it keeps them apart.
    fn describe(&self) -> Description {
        Description::new(Modality::from("{modality}".to_owned()), self.width)
            .batch(64){items}
            .fingerprint("model", "pairs of bytes, 1")
            .fingerprint("width", self.width)
    }

    /// One outcome for each item: its latent, or the reason why it has none. A bad item fails alone.
    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        sink.put_all(items.iter().map(|item| self.latent(item)));
        Ok(())
    }
}

impl {Type}Encoder {
    fn latent(&self, item: &Item<'_>) -> Result<Vec<f32>, ItemError> {
{check}
        let mut latent = vec![0.0; self.width];
        for pair in bytes.windows(2) {
            latent[(usize::from(pair[0]) * 31 + usize::from(pair[1])) % self.width] += 1.0;
        }
        latent[0] += 1.0;
        Ok(latent)
    }
}

fusemix_sdk::export!({Type}Encoder);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_promises_of_every_encoder() {
        fusemix_sdk::check::conforms::<{Type}Encoder>(&Options::default(), {samples});
    }
}
