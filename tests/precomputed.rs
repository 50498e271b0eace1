//! Files of latents that somebody else computed: towers without encoders.

use safetensors::tensor::{Dtype, TensorView};

use crate::common::Place;
use crate::train::recall_at_1;

/// Row i of the second side is a fixed linear map of row i of the first.
pub(crate) fn precomputed(place: &Place, name: &str, rows: usize, salt: u64) {
    let mut state = salt;
    let mut random = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let image: Vec<f32> = (0..rows * 12).map(|_| random()).collect();
    let text =
        image.chunks(12).flat_map(|row| (0..8).map(|j| row[j] - row[j + 1] * 0.5 + row[11 - j]).collect::<Vec<_>>());
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let (image, text) = (bytes(&image), bytes(&text.collect::<Vec<_>>()));
    let tensors = [("z_image", 12, &image), ("z_text", 8, &text)];
    let views =
        tensors.map(|(name, width, bytes)| (name, TensorView::new(Dtype::F32, vec![rows, width], bytes).unwrap()));
    place.write(name, safetensors::serialize(views, None).unwrap());
}

#[test]
fn precomputed_latents_need_no_encoder() {
    let place = Place::new("");
    precomputed(&place, "train.safetensors", 400, 1);
    precomputed(&place, "test.safetensors", 50, 2);
    let recipe = "\
[tower.image]
precomputed = true
[tower.text]
precomputed = true
adapter = 'identity'
[[pairs]]
train = 'train.safetensors'
test = 'test.safetensors'
image = 'z_image'
text = 'z_text'
[train]
width = 8
dropout = 0.0
lr = 0.01
epochs = 100
";
    place.write("fusion.toml", recipe);
    place.json("train fusion.toml --out run --device cpu");
    let found = place.json("eval run")["retrieval"].clone();
    assert!(recall_at_1(&found[0]) > 50.0 && recall_at_1(&found[1]) > 50.0, "{found}");
    place.json("embed run --tower text --data test.safetensors --out out.npy");
    place.run("search run --from text --to image --data test.safetensors x").fails(3, "it has no encoder for a query");

    place.write("fusion.toml", recipe.replace("width = 8", "width = 9"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "set `width = 8` in [train]");
    place.write("fusion.toml", recipe.replace("'z_text'", "'z_txt'"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "no column `z_txt`; did you mean `z_text`?");
}

#[test]
fn files_of_another_shape_are_refused() {
    let place = Place::new("");
    precomputed(&place, "train.safetensors", 40, 1);
    let tensors = |name: &str, image: [usize; 2], text: [usize; 2]| {
        let zeros = vec![0; 4096];
        let view = |[rows, width]: [usize; 2]| {
            TensorView::new(Dtype::F32, vec![rows, width], &zeros[..rows * width * 4]).unwrap()
        };
        place.write(name, safetensors::serialize([("z_image", view(image)), ("z_text", view(text))], None).unwrap());
    };
    tensors("narrow.safetensors", [9, 11], [9, 8]);
    tensors("short.safetensors", [8, 12], [9, 8]);
    let recipe = "\
[tower.image]
precomputed = true
[tower.text]
precomputed = true
[[pairs]]
train = 'train.safetensors'
image = 'z_image'
text = 'z_text'
[train]
epochs = 1
";
    place.write("fusion.toml", recipe);
    place.json("train fusion.toml --out run --device cpu");
    let narrow = "narrow.safetensors: the latents of tower `image` have 11 values here, but 12 elsewhere";
    let short = "short.safetensors: tensors of 8 and 9 rows cannot be paired";
    for (file, message) in [("narrow", narrow), ("short", short)] {
        place.run(&format!("eval run --data {file}.safetensors")).fails(3, message);
        let validation = format!("validation = '{file}.safetensors'\nimage = 'z");
        place.write("other.toml", recipe.replace("image = 'z", &validation));
        place.run("train other.toml --out other --device cpu").fails(3, message);
    }
    place.run("embed run --tower image --data narrow.safetensors --out out.npy").fails(3, narrow);
    place.write("other.toml", recipe.replace("'train.safe", "'short.safe"));
    place.run("train other.toml --out other --device cpu").fails(3, short);
    place.run("eval run").fails(3, "the recipe names no `test` file; pass --data FILE");
}

#[test]
fn embeddings_that_are_not_finite_are_no_finds() {
    let place = Place::new("");
    precomputed(&place, "train.safetensors", 100, 1);
    let values: Vec<u8> =
        (0..20 * 12).flat_map(|at| (if (at + at / 12) % 3 > 0 { 3e38_f32 } else { -3e38 }).to_le_bytes()).collect();
    let (image, text) = (vec![20, 12], vec![20, 8]);
    let views = [
        ("z_image", TensorView::new(Dtype::F32, image, &values).unwrap()),
        ("z_text", TensorView::new(Dtype::F32, text, &values[..20 * 8 * 4]).unwrap()),
    ];
    place.write("huge.safetensors", safetensors::serialize(views, None).unwrap());
    let pairs = "[[pairs]]\ntrain = 'train.safetensors'\nimage = 'z_image'\ntext = 'z_text'\n";
    let towers = "[tower.image]\nprecomputed = true\n[tower.text]\nprecomputed = true\n";
    place.write("fusion.toml", format!("{towers}{pairs}[train]\nepochs = 1\n"));
    place.json("train fusion.toml --out run --device cpu");
    place.run("eval run --data huge.safetensors").fails(1, "embeddings of tower `image` are not finite");
    place.run("embed run --tower image --data huge.safetensors --out out.npy").fails(1, "latents beyond about 1e18");
    let of_huge = pairs.replace("'train.", "'huge.");
    place.write("fusion.toml", format!("{towers}{of_huge}[fit]\nmethod = 'asif'\n"));
    let ran = place.run("train fusion.toml --out other");
    assert!(ran.code != 0 && !place.path("other/run.json").exists(), "{}", ran.stderr);
}
