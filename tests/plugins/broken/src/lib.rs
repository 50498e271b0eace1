//! An encoder that misbehaves on request, in each way that the host has to survive.

use fusemix_sdk::{
    Description, Encoder, Error, Host, Item, ItemError, Limits, Modality, OptionKind, OptionSpec, Options, Sink, Size,
};
use std::time::Duration;

/// Each of them is a value of `fault`.
const FAULTS: [&str; 20] = [
    "open",
    "panic-open",
    "hang-open",
    "fail",
    "panic",
    "width",
    "count",
    "nan",
    "twice",
    "missing",
    "store-panic",
    "store-hang",
    "hang",
    "exit",
    "abort",
    "crash",
    "print",
    "measure",
    "hang-measure",
    "poison",
];

struct Broken(String);

impl Encoder for Broken {
    fn options() -> Vec<OptionSpec> {
        vec![OptionSpec::new("fault", OptionKind::Text, "what to do wrong").required().choices(&FAULTS)]
    }

    fn open(options: &Options, _host: &Host) -> Result<Self, Error> {
        match options.need::<String>("fault")?.as_str() {
            "open" => Err(Error::config("`fault = \"open\"`: there is no such model").key("fault")),
            "panic-open" => panic!("on purpose, while opening"),
            "hang-open" => hang(),
            fault => Ok(Self(fault.to_owned())),
        }
    }

    fn describe(&self) -> Description {
        Description::new(Modality::Text, 4)
            .batch(4)
            .fingerprint("fault", &self.0)
            .limits(Limits::new(Some(1 << 20), None))
    }

    fn measure(&self, items: &[Item<'_>]) -> Vec<Size> {
        if self.0 == "hang-measure" {
            hang();
        }
        let wrong = usize::from(self.0 == "measure");
        items.iter().skip(wrong).map(|item| Size::new(item.bytes.len() as u64, 1)).collect()
    }

    fn encode(&self, items: &[Item<'_>], sink: &mut Sink<'_>) -> Result<(), Error> {
        let latent = |item: usize| Ok::<_, ItemError>(vec![item as f32 + 1.0; 4]);
        match self.0.as_str() {
            fault @ ("exit" | "abort" | "crash") => end(fault.as_bytes()),
            // An item of such a name ends the process, after others have been stored.
            "poison" => {
                for (index, item) in items.iter().enumerate() {
                    end(item.bytes);
                    sink.put(index, Ok(not_a_number(item)).map(|value| vec![value; 4]));
                    sink.store()?;
                }
            }
            "print" => {
                println!("a line on standard output");
                sink.put_all((0..items.len()).map(latent));
            }
            "fail" => return Err(Error::new("the model fell over")),
            "panic" => panic!("on purpose, while encoding"),
            "width" => sink.put_all((0..items.len()).map(|item| Ok(vec![item as f32 + 1.0; 5]))),
            "count" => sink.put_all((0..=items.len()).map(latent)),
            "twice" => (0..2).for_each(|_| sink.put_all((0..items.len()).map(latent))),
            "missing" => (1..items.len()).for_each(|item| sink.put(item, latent(item))),
            "nan" => sink.put_all(items.iter().map(|item| Ok(vec![not_a_number(item); 4]))),
            // Half of the items are stored, and the item of that name undoes the call.
            fault @ ("store-panic" | "store-hang") => {
                let half = items.len().div_ceil(2);
                (0..half).for_each(|item| sink.put(item, latent(item)));
                sink.store()?;
                match fault {
                    _ if !items.iter().any(|item| item.bytes == fault.as_bytes()) => {}
                    "store-panic" => panic!("on purpose, after storing"),
                    _ => hang(),
                }
                (half..items.len()).for_each(|item| sink.put(item, latent(item)));
            }
            _ => hang(),
        }
        Ok(())
    }
}

/// NaN for a text with "nan" in it, its length otherwise.
fn not_a_number(item: &Item<'_>) -> f32 {
    if item.bytes.windows(3).any(|window| window == b"nan") { f32::NAN } else { item.bytes.len() as f32 }
}

/// Ends the process in the way of that name, if there is one.
fn end(how: &[u8]) {
    match how {
        b"exit" => std::process::exit(0),
        b"abort" => std::process::abort(),
        // SAFETY: none; it is wrong on purpose.
        b"crash" => unsafe { std::ptr::with_exposed_provenance_mut::<u8>(8).write_volatile(1) },
        _ => {}
    }
}

fn hang() -> ! {
    fusemix_sdk::tracing::warn!("hanging on purpose");
    loop {
        std::thread::sleep(Duration::from_secs(60));
    }
}

fusemix_sdk::export!(Broken);
