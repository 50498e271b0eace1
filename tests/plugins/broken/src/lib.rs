//! An encoder that misbehaves as it is told to, in each way that the host has to survive.

use fusemix_sdk::{Description, Encoded, Encoder, Error, Host, Item, Modality, OptionKind, OptionSpec, Options};
use std::time::Duration;

struct Broken(String);

impl Encoder for Broken {
    fn options() -> Vec<OptionSpec> {
        let faults = ["open", "panic-open", "hang-open", "fail", "panic", "width", "count", "nan", "again", "hang"];
        vec![OptionSpec::new("fault", OptionKind::Text, "what to do wrong").required().choices(&faults)]
    }

    fn open(options: &Options, _host: &Host) -> Result<Self, Error> {
        match options.need::<String>("fault")?.as_str() {
            "open" => Err(Error::config("`fault = \"open\"`: there is no such model")),
            "panic-open" => panic!("on purpose, while opening"),
            "hang-open" => hang(),
            fault => Ok(Self(fault.to_owned())),
        }
    }

    fn describe(&self) -> Description {
        Description::new(Modality::Text, 4).batch(4).fingerprint("fault", &self.0)
    }

    fn encode(&self, items: &[Item<'_>], _host: &Host) -> Result<Encoded, Error> {
        let latents = |width: usize, items: usize| {
            Encoded::from_iter((0..items).map(|item| Ok::<_, fusemix_sdk::ItemError>(vec![item as f32 + 1.0; width])))
        };
        match self.0.as_str() {
            "fail" => Err(Error::new("the model fell over")),
            "panic" => panic!("on purpose, while encoding"),
            "width" => Ok(latents(5, items.len())),
            "again" => {
                let later = || Err::<Vec<f32>, _>(fusemix_sdk::ItemError::transient("later"));
                let all = (0..items.len()).collect();
                Ok(items.iter().map(|_| later()).collect::<Encoded>().rest(vec![all]))
            }
            "count" => Ok(latents(4, items.len() + 1)),
            "nan" => {
                Ok(items.iter().map(|item| Ok::<_, fusemix_sdk::ItemError>(vec![not_a_number(item); 4])).collect())
            }
            _ => hang(),
        }
    }
}

/// NaN for a text with "nan" in it, its length otherwise.
fn not_a_number(item: &Item<'_>) -> f32 {
    if item.bytes.windows(3).any(|window| window == b"nan") { f32::NAN } else { item.bytes.len() as f32 }
}

fn hang() -> ! {
    fusemix_sdk::tracing::warn!("hanging on purpose");
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fusemix_sdk::export!(Broken);
