//! Files of spaces that were fitted in closed form: whole, crafted, and cut.

use safetensors::tensor::{Dtype, TensorView};

use super::*;

#[test]
fn a_file_holds_the_whole_space() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    let (towers, sets) = (golden.towers(2), [golden.pairs()]);
    let by_length = KernelCcaOptions { standard: Some(Standard::Length), ..Default::default() };
    for (name, method) in methods().into_iter().chain([("by length", kernel_cca(by_length))]) {
        for (hubness, fixed) in [(0.25, false), (0.0, false), (0.0, true)] {
            let problem = Problem { towers: &towers, fixed: &[false, fixed], sets: &sets, stop: &|| false };
            let space = method.fit(&problem, Hubs { hubness, neighbours: 5 }).unwrap();
            space.save(&path).unwrap();
            let read = Space::load(Arc::new(Cpu::default()), &path).unwrap();
            assert!(read.towers().eq(space.towers()));
            for tower in 0..2 {
                let latents = golden.side(tower, true);
                assert_eq!(read.embed(tower, &*latents).unwrap(), space.embed(tower, &*latents).unwrap(), "{name}");
            }
        }
    }
}

/// A file with other metadata than a fit writes, and without some tensors.
fn crafted(path: &Path, change: impl Fn(&str) -> String, empty: Option<&str>) {
    let bytes = std::fs::read(path).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let of = |(name, view): (String, TensorView<'_>)| match empty {
        Some(emptied) if name.ends_with(emptied) => {
            (name, TensorView::new(Dtype::F32, vec![0, view.shape()[1]], &[]).unwrap().shape().to_vec(), vec![])
        }
        _ => (name, view.shape().to_vec(), view.data().to_vec()),
    };
    let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = file.tensors().into_iter().map(of).collect();
    let views =
        tensors.iter().map(|(name, shape, data)| (name, TensorView::new(Dtype::F32, shape.clone(), data).unwrap()));
    let metadata = header.metadata().clone().unwrap().into_iter().map(|(key, value)| (key, change(&value))).collect();
    let bytes = safetensors::serialize(views, Some(metadata)).unwrap();
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_crafted_file_is_refused() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    let (towers, sets) = (golden.towers(2), [golden.pairs()]);
    let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| false };
    let refused = |method: &str, change: &dyn Fn(&str) -> String, empty: Option<&str>, reason: &str| {
        let method = methods().into_iter().find(|(name, _)| *name == method).unwrap().1;
        method.fit(&problem, Hubs { hubness: 0.25, neighbours: 5 }).unwrap().save(&path).unwrap();
        Space::load(Arc::new(Cpu::default()), &path).unwrap();
        crafted(&path, change, empty);
        let error = Space::load(Arc::new(Cpu::default()), &path).err().expect(reason).to_string();
        assert!(error.contains(reason) && error.contains("adapters.safetensors"), "{reason}: {error}");
    };
    let same = |text: &str| text.to_owned();
    refused("cca", &same, Some("left.bank"), "`hubness` has values that no fit gives");
    refused("kernel_cca", &same, Some("right.anchors"), "tensor `right.anchors` is F32 [0,");
    let huge = u64::MAX.to_string();
    let size = |key: &str, value: &str| {
        let (key, value) = (format!("\"{key}\":"), value.to_owned());
        move |text: &str| match text.split_once(&key) {
            None => text.to_owned(),
            Some((before, after)) => {
                let rest = after.trim_start_matches(|letter: char| letter.is_ascii_digit());
                format!("{before}{key}{value}{rest}")
            }
        }
    };
    refused("cca", &size("width", &huge), None, "the file is too small for the sizes of `left`");
    refused("cca", &size("width", "0"), None, "widths must be above 0");
    refused("kernel_cca", &size("inner", &huge), None, "the file is too small for the sizes of `left`");
    refused("cca", &size("blocks", &huge), None, "the file is too small for the sizes of `left`");
    refused("cca", &|text| text.replace("projection", "mlp").replace("\"blocks\":0", "\"blocks\":2"), None, "no inner");
    refused("cca", &|text| text.replace("projection", "identity"), None, "an identity has another width");
    refused("cca", &|text| text.replace("right", "left"), None, "`left` is there twice");
    refused(
        "cca",
        &|text| if text.starts_with('[') { "[]".to_owned() } else { text.to_owned() },
        None,
        "widths must be",
    );
    let nothing = |text: &str| if text.starts_with("[[") { "[]".to_owned() } else { text.to_owned() };
    refused("ridge", &nothing, None, "`parts`: there are none");
    let front = |text: &str| {
        let tower = r#"{"name":"left","width":3,"adapter":"projection","inner":0,"blocks":0,"shared":3}"#;
        text.replacen("\"bias\":true", &format!("\"bias\":true,\"front\":{tower}"), 1)
    };
    refused("cca", &front, None, "a map in closed form has a front");
    // Cut anywhere, it is refused.
    methods()[0].1.fit(&problem, NO_HUBS).unwrap().save(&path).unwrap();
    let whole = std::fs::read(&path).unwrap();
    for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(Space::load(Arc::new(Cpu::default()), &path).is_err(), "{length}");
    }
}
