//! Local models, and a hub that is a thread of this test.

use fusemix_sdk::{Error, Host, Options};
use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Pinned, Source, is_hub_id};
use crate::hub::Hub;

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const FILES: [(&str, &str); 2] = [("config.json", r#"{"hidden_size": 4}"#), ("model.safetensors", "weights")];

/// Serves `org/model` with [`FILES`]; returns the endpoint and the number of requests so far.
fn serve() -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = requests.clone();
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            counter.fetch_add(1, Ordering::SeqCst);
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            let request = String::from_utf8(request).unwrap();
            let path = request.split(' ').nth(1).unwrap();
            let siblings = FILES.map(|(name, _)| format!(r#"{{"rfilename": "{name}"}}"#)).join(",");
            let body = match path.strip_prefix(&format!("/org/model/resolve/{COMMIT}/")) {
                Some(name) => FILES.iter().find(|file| file.0 == name).map(|file| file.1.to_owned()),
                None => path
                    .starts_with("/api/models/org/model/revision/")
                    .then(|| format!(r#"{{"sha": "{COMMIT}", "siblings": [{siblings}]}}"#)),
            };
            let answer = match body {
                None => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".to_owned(),
                Some(body) => {
                    let range = request
                        .lines()
                        .find_map(|line| line.to_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
                    let (first, last) = range.as_deref().and_then(|range| range.split_once('-')).unwrap_or(("0", ""));
                    let (first, size) = (first.parse().unwrap(), body.len());
                    let part = &body[first..last.parse().map_or(size, |last: usize| last + 1)];
                    format!(
                        "HTTP/1.1 {}\r\nContent-Length: {}\r\nContent-Range: bytes {first}-{}/{size}\r\nETag: \
                         \"{size}\"\r\n\
                         X-Repo-Commit: {COMMIT}\r\nConnection: close\r\n\r\n{part}",
                        if range.is_some() { "206 Partial Content" } else { "200 OK" },
                        part.len(),
                        first + part.len() - 1
                    )
                }
            };
            stream.write_all(answer.as_bytes()).unwrap();
        }
    });
    (endpoint, requests)
}

fn locate(options: &Options, endpoint: &str, cache: &Path, offline: bool) -> Result<Source, Error> {
    let hub = Hub { endpoint: endpoint.into(), cache: cache.into(), token: Some("hf_secret".into()), offline };
    Source::locate_with(options, &Host::detached(), || Ok(hub))
}

#[test]
fn a_hub_is_asked_once_and_the_cache_serves_without_it() {
    let (endpoint, requests) = serve();
    let cache = tempfile::tempdir().unwrap();
    let options = Options::default().with("model", "org/model");
    let source = locate(&options, &endpoint, cache.path(), false).unwrap();
    assert_eq!(source.json("config.json").unwrap().unwrap()["hidden_size"], 4);
    assert_eq!(fs::read_to_string(&source.checkpoint().unwrap()[0]).unwrap(), "weights");
    assert_eq!(source.optional("1_Pooling/config.json").unwrap(), None);

    // Also by the folder that it is in now.
    let pinned = Some(Pinned { model: "org/model".to_owned(), revision: COMMIT.to_owned() });
    let folder = cache.path().join("models--org--model/snapshots").join(COMMIT);
    let local = Options::default().with("model", folder.to_str().unwrap());
    assert_eq!(source.pinned(), pinned);
    assert_eq!(locate(&local, &endpoint, cache.path(), true).unwrap().pinned(), pinned);
    let file = Options::default().with("model", folder.join("model.safetensors").to_str().unwrap());
    assert_eq!(locate(&file, &endpoint, cache.path(), true).unwrap().pinned(), None);

    let asked = requests.load(Ordering::SeqCst);
    for (endpoint, offline) in [(endpoint.as_str(), false), ("http://127.0.0.1:9", false), ("http://127.0.0.1:9", true)]
    {
        let source = locate(&options, endpoint, cache.path(), offline).unwrap();
        assert!(source.file("config.json").is_ok());
        assert_eq!(source.optional("1_Pooling/config.json").unwrap(), None);
        let by_commit = options.clone().with("revision", COMMIT);
        assert!(locate(&by_commit, endpoint, cache.path(), offline).unwrap().file("model.safetensors").is_ok());
    }
    assert_eq!(requests.load(Ordering::SeqCst), asked);

    // Nobody has asked for these yet, so nobody knows that there are none.
    for (offline, why) in [(false, "does not answer"), (true, "HF_HUB_OFFLINE")] {
        let source = locate(&options, "http://127.0.0.1:9", cache.path(), offline).unwrap();
        assert_eq!((source.knows("config.json"), source.knows("modules.json")), (Ok(true), Ok(false)));
        for message in [source.file("tokenizer.json"), source.weights(&["tokenizer.json"])].map(Result::unwrap_err) {
            let message = message.message;
            assert!(message.contains("org/model") && message.contains("tokenizer.json"), "{message}");
            assert!(message.contains(why), "{message}");
        }
        let none = source.state_dict().unwrap_err().message;
        assert!(
            none.contains("neither a config.json nor a state dict (.pt, .pth, .bin, .ckpt) in org/model"),
            "{none}"
        );
        assert!(source.optional("modules.json").unwrap_err().message.contains("modules.json is not cached"));
        assert!(source.weights(&["tokenizer.json", "model.safetensors"]).is_ok());
    }
}

#[test]
fn a_download_that_was_cut_goes_on_where_it_ended() {
    let (endpoint, _) = serve();
    let cache = tempfile::tempdir().unwrap();
    let options = Options::default().with("model", "org/model");
    let blobs = cache.path().join("models--org--model/blobs");
    fs::create_dir_all(&blobs).unwrap();
    // Another beginning than the hub's file has, so that it shows which bytes were fetched.
    fs::write(blobs.join("7.part"), "WEI").unwrap();
    let source = locate(&options, &endpoint, cache.path(), false).unwrap();
    assert_eq!(fs::read_to_string(source.file("model.safetensors").unwrap()).unwrap(), "WEIghts");
}

#[test]
fn a_refusal_names_the_model_and_no_token() {
    let (endpoint, _) = serve();
    let cache = tempfile::tempdir().unwrap();
    let options = Options::default().with("model", "org/another");
    for offline in [false, true] {
        let message = locate(&options, &endpoint, cache.path(), offline).err().unwrap().message;
        assert!(message.contains("org/another") && !message.contains("hf_secret"), "{message}");
        assert!(message.contains(if offline { "HF_HUB_OFFLINE" } else { "404" }), "{message}");
    }
}

#[test]
fn a_folder_and_a_file_of_it() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in FILES.into_iter().chain([("other.pth", "")]) {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let hub = || -> Result<Hub, Error> { panic!("a path needs no hub") };
    let locate = |options: &Options| Source::locate_with(options, &Host::detached(), hub);
    let whole = locate(&Options::new(Default::default(), folder.path()).with("model", ".")).unwrap();
    assert!(whole.weights(&["absent.pth", "other.pth"]).unwrap().ends_with("other.pth"));
    assert!(whole.state_dict().unwrap().ends_with("other.pth"));
    fs::write(folder.path().join("another.pt"), "").unwrap();
    let several = whole.state_dict().unwrap_err().message;
    assert!(several.contains(": another.pt, other.pth; set `model` to the path of one"), "{several}");
    assert!(whole.file("absent.json").unwrap_err().message.contains("absent.json"));
    let file = folder.path().join("other.pth");
    let single = locate(&Options::default().with("model", file.to_str())).unwrap();
    assert_eq!(single.weights(&["model.safetensors"]).unwrap(), file);
    assert!(single.file("config.json").is_ok());
    let pinned = Options::default().with("model", file.to_str()).with("revision", "main");
    assert!(locate(&pinned).err().unwrap().message.contains("`revision`"));
    assert!(locate(&Options::default().with("model", "./absent")).err().unwrap().message.contains("not a hub id"));
}

#[test]
fn shards_of_an_index() {
    let folder = tempfile::tempdir().unwrap();
    let index = r#"{"weight_map": {"a": "1.safetensors", "b": "2.safetensors", "c": "1.safetensors"}}"#;
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    fs::write(folder.path().join("1.safetensors"), "").unwrap();
    let options = Options::default().with("model", folder.path().to_str());
    let source = Source::locate(&options, &Host::detached()).unwrap();
    assert!(source.checkpoint().unwrap_err().message.contains("no 2.safetensors"));
    for outside in ["../1.safetensors", "/1.safetensors"] {
        fs::write(folder.path().join("model.safetensors.index.json"), index.replace("2.safetensors", outside)).unwrap();
        let refused = source.checkpoint().unwrap_err().message;
        assert!(refused.contains(&format!("it refers to a file outside its folder: {outside}")), "{refused}");
    }
    fs::write(folder.path().join("model.safetensors.index.json"), index).unwrap();
    fs::write(folder.path().join("2.safetensors"), "").unwrap();
    assert_eq!(source.checkpoint().unwrap().len(), 2);
}

#[test]
fn hub_ids() {
    for id in ["BAAI/bge-small-en-v1.5", "google/bert_uncased_L-2_H-128_A-2"] {
        assert!(is_hub_id(id), "{id}");
    }
    for path in ["model", "../model", "./model", "a/b/c", "~/model", "a/", "/model"] {
        assert!(!is_hub_id(path), "{path}");
    }
}
