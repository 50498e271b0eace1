//! The JSON between host and plugins, pinned to files, so that a plugin built today works for ever.

use fusemix_sdk::export::{OpenRequest, PluginInfo};
use fusemix_sdk::host::LogRecord;
use fusemix_sdk::rows::{Receipt, Report};
use fusemix_sdk::{
    Description, Error, ErrorKind, ItemError, ItemKind, Limits, Modality, OptionKind, OptionSpec, Options, Price, Rate,
    Size,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;
use std::path::Path;
use std::time::Duration;

/// The variable that rewrites the files.
const ANEW: &str = "FUSEMIX_SNAPSHOTS";

/// Checks `value` against the file called `name`: it is written as in the file, read from it, and read from it again
/// with a field that only a later version knows. `least` must be read as `defaults`.
fn pinned<T: Serialize + DeserializeOwned + PartialEq + Debug>(name: &str, value: &T, least: Value, defaults: &T) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/snapshots/{name}.json"));
    let written = serde_json::to_string_pretty(value).unwrap() + "\n";
    if std::env::var_os(ANEW).is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let file = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; for a new type, set {ANEW}=1 and run this test", path.display()));
    assert!(
        written == file,
        "{name} crosses the boundary in a different form than in {}. Plugins that exist read and write the form of \
         the file: a field that is new there must have a default, none may go or change its name or type, or old \
         plugins break, and that is a new major version. If the change keeps to this, set {ANEW}=1, run this test, \
         and look at the difference.\nnow:\n{written}\nthe file:\n{file}",
        path.display()
    );
    assert_eq!(&serde_json::from_str::<T>(&file).unwrap(), value, "{name} is not read as it is written");
    let mut later: Value = serde_json::from_str(&file).unwrap();
    if let Some(object) = later.as_object_mut() {
        object.insert("of a later version".to_owned(), json!([1]));
        assert_eq!(&serde_json::from_value::<T>(later).unwrap(), value, "{name} does not ignore what it does not know");
    }
    let read = serde_json::from_value::<T>(least.clone());
    let read = read.unwrap_or_else(|error| panic!("{name} no longer reads {least}, as old plugins write it: {error}"));
    assert_eq!(&read, defaults, "{name}: other defaults");
}

#[test]
fn what_is_said_before_an_encoder_opens() {
    let spec = OptionSpec::new("pooling", OptionKind::Text, "how").required().choices(&["cls", "mean"]).secret();
    let kinds = [OptionKind::Integer, OptionKind::Number, OptionKind::Boolean, OptionKind::Any];
    let specs = kinds.map(|kind| OptionSpec::new("key", kind, ""));
    let info = |options| PluginInfo { name: "p".into(), version: "0.1.0".into(), sdk: "1.0.0".into(), options };
    let least = json!({"name": "p", "version": "0.1.0", "sdk": "1.0.0"});
    pinned("plugin_info", &info([vec![spec.clone()], specs.to_vec()].concat()), least, &info(Vec::new()));
    let least = json!({"key": "pooling", "kind": "of a later version"});
    pinned("option_spec", &spec, least, &OptionSpec::new("pooling", OptionKind::Any, ""));

    let options = Options::new([("width".to_owned(), json!(8))].into(), "/home/of/plugins.toml");
    let request = |options, level: &str| OpenRequest { encoder: "e".into(), options, log_level: level.into() };
    let least = json!({"encoder": "e", "options": {}});
    pinned("open_request", &request(options, "info"), least, &request(Options::default(), ""));
}

#[test]
fn what_an_encoder_says_of_itself() {
    let full = Description::new(Modality::from("tabular".to_owned()), 512)
        .items(ItemKind::File)
        .batch(64)
        .concurrency(2)
        .fingerprint("weights", "c0ffee")
        .choices("pooling", vec!["cls".into(), "mean".into()])
        .pinned("revision", "c0ffee")
        .limits(Limits::new(Some(1 << 20), Some(8192)).items(96))
        .rate(Rate::new(Some(3000.0), Some(1e6)))
        .price(Price::new(0.02, 0.001))
        .patience(3600.0)
        .tolerance(0.5);
    let least = Description::new(Modality::Text, None);
    pinned("description", &full, json!({"modality": "text"}), &least);
    pinned("description_least", &least, json!({"modality": "text", "items": "of a later version"}), &least);
    pinned("size", &Size::new(1000, 250), json!({}), &Size::default());
}

#[test]
fn what_goes_with_rows() {
    let report = Report {
        items: vec![2, 0],
        failures: [
            (1, ItemError::new("empty text")),
            (3, ItemError::transient("no answer")),
            (4, ItemError::passing("no server").after(Duration::from_secs(2))),
        ]
        .into(),
        truncated: [2].into(),
        usage: [("tokens".to_owned(), 7.0)].into(),
        last: true,
    };
    pinned("report", &report, json!({}), &Report::default());
    pinned("item_error", &ItemError::transient("no answer"), json!({"message": "bad"}), &ItemError::new("bad"));
    let passing = ItemError::passing("no server").after(Duration::from_millis(1500));
    pinned("item_error_passing", &passing, json!({"message": "bad"}), &ItemError::new("bad"));
    pinned("receipt", &Receipt { stop: true }, json!({}), &Receipt::default());
}

#[test]
fn what_goes_wrong() {
    let least = Error::new("no");
    let kinds = [
        ("error_config", ErrorKind::Config),
        ("error_stopped", ErrorKind::Stopped),
        ("error_panic", ErrorKind::Panic),
        ("error_contract", ErrorKind::Contract),
        ("error_failed", ErrorKind::Failed),
    ];
    for (name, kind) in kinds {
        let mut error = Error::new("`layer = 99`: there is none").key("layer");
        error.kind = kind;
        pinned(name, &error, json!({"message": "no", "kind": "of a later version"}), &least);
        pinned(name, &error, json!({"message": "no"}), &least);
    }
}

#[test]
fn what_is_logged() {
    let record = LogRecord { level: "INFO".into(), target: "letters".into(), message: "open answer=42".into() };
    let least = json!({"level": "INFO", "target": "letters", "message": "open answer=42"});
    pinned("log_record", &record, least, &record);
}
