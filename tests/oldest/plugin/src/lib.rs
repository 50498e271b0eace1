//! An encoder that uses all that the SDK 1.0.0 offers: it must load in every later host.

use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, ItemKind, Limits, Modality, OptionKind, OptionSpec, Options,
    Price, Rate, Sink, Size,
};

struct Oldest {
    width: usize,
    panics: bool,
}

impl Encoder for Oldest {
    fn options() -> Vec<OptionSpec> {
        vec![
            OptionSpec::new("width", OptionKind::Integer, "values a latent (default: 8)"),
            OptionSpec::new("mood", OptionKind::Text, "what it does with `panic`").choices(&["calm", "panic"]),
        ]
    }

    fn open(options: &Options, host: &Host) -> Result<Self, Error> {
        let width = options.get_or("width", 8)?;
        if width < 2 {
            return Err(Error::config("`width` must be at least 2").key("width"));
        }
        host.status("opening");
        fusemix_sdk::tracing::info!("the oldest plugin is open");
        let panics = options.get_or("mood", "calm".to_owned())? == "panic";
        Ok(Self { width, panics })
    }

    fn describe(&self) -> Description {
        Description::new(Modality::Other("tabular".to_owned()), self.width)
            .batch(4)
            .concurrency(2)
            .items(ItemKind::Text)
            .fingerprint("width", self.width)
            .choices("width", vec!["8".to_owned(), "16".to_owned()])
            .limits(Limits::new(Some(1 << 20), Some(1000)).items(Some(4)))
            .rate(Rate::new(Some(1e6), None))
            .price(Some(Price::new(1.0, 0.5)))
            .patience(30.0)
            .tolerance(1e-6)
    }

    fn measure(&self, items: &[Item<'_>]) -> Vec<Size> {
        items.iter().map(|item| Size::new(item.bytes.len() as u64, 3)).collect()
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        for (index, item) in items.iter().enumerate() {
            if sink.host().should_stop() {
                return Err(Error::stopped());
            }
            sink.put(index, self.latent(item));
            sink.used("tokens", 3.0);
            sink.store()?;
            if self.panics && item.bytes.starts_with(b"panic") {
                panic!("as it was asked to");
            }
        }
        Ok(())
    }
}

impl Oldest {
    fn latent(&self, item: &Item<'_>) -> Result<Vec<f32>, ItemError> {
        let text = item.as_text()?;
        let value = |at: usize| text.bytes().map(|byte| f32::from(byte) * (at + 1) as f32 % 17.0).sum::<f32>() + 1.0;
        Ok((0..self.width).map(value).collect())
    }
}

fusemix_sdk::export!(Oldest);
