//! Files of latents that somebody else computed: towers without encoders.

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde_json::json;
use std::collections::HashSet;

use crate::common::{Place, Ran, floats};
use crate::train::{self, recall_at_1};

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
    place.run("search run --from text --to image --data test.safetensors x").fails(4, "give a row of a file as");

    place.write("fusion.toml", recipe.replace("width = 8", "width = 9"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "set `width = 8` in [train]");
    place.write("fusion.toml", recipe.replace("'z_text'", "'z_txt'"));
    place.run("train fusion.toml --out other --device cpu").fails(3, "no column `z_txt`; did you mean `z_text`?");
}

/// The latents of the mock's encoder `one` in a file, beside encoder `two`.
#[test]
fn a_precomputed_tower_stands_beside_an_encoder() {
    let place = train::place();
    // Rows of the file in another order than those of the tables.
    let words: Vec<String> = ["train", "validation", "test"]
        .iter()
        .flat_map(|name| first_column(&place, &format!("{name}.tsv")))
        .rev()
        .collect();
    place.write("words.tsv", format!("id\n{}\n", words.join("\n")));
    place.json("encode --data words.tsv --encoder one --column id");
    place.json("cache export --data words.tsv --encoder one --column id --out words.NPY");
    let precomputed = "precomputed = 'words.NPY'\nids = 'words.tsv'";
    place.json("train fusion.toml --out encoded --device cpu");
    place.write("named.toml", train::RECIPE.replace("encoder = 'one'", precomputed));
    place.json("train named.toml --out named --device cpu");
    let evaluated = |run: &str| place.json(&format!("eval {run}"))["retrieval"].clone();
    assert_eq!(evaluated("encoded"), evaluated("named"));
    assert!(recall_at_1(&evaluated("named")[0]) > 60.0);

    // A .parquet file has its ids with it, and a run knows its rows.
    let export = "cache export --encoder one --column id --id id --out words.parquet --data";
    place.json(&format!("{export} words.tsv"));
    place.write("parquet.toml", train::RECIPE.replace("encoder = 'one'", "precomputed = 'words.parquet'"));
    place.json("train parquet.toml --out parquet --device cpu");
    assert_eq!(evaluated("encoded"), evaluated("parquet"));
    place.write("turned.tsv", format!("id\n{}\n", words.iter().rev().cloned().collect::<Vec<_>>().join("\n")));
    place.json(&format!("{export} turned.tsv"));
    place.run("eval parquet").fails(5, "words.parquet is not the file that this run was trained with");

    // By number, and with rows that name none.
    let numbered = |name: &str| {
        let lines = place.read(name);
        let lines = lines.lines().skip(1).map(|line| line.split_once('\t').unwrap());
        let rows = lines.map(|(a, b)| format!("{}\t{b}\n", words.iter().position(|word| word == a).unwrap()));
        place.write(&format!("numbered-{name}"), "a\tb\n".to_owned() + &rows.collect::<String>());
    };
    ["train.tsv", "validation.tsv", "test.tsv"].into_iter().for_each(numbered);
    place.write("numbered-train.tsv", place.read("numbered-train.tsv") + "9999\tx\nw1\ty\n");
    let recipe = train::RECIPE.replace("encoder = 'one'", "precomputed = 'words.NPY'");
    place.write(
        "numbered.toml",
        ["train", "validation", "test"]
            .iter()
            .fold(recipe, |recipe, name| recipe.replace(&format!("'{name}."), &format!("'numbered-{name}."))),
    );
    let ran = place.run("train numbered.toml --out numbered --device cpu --json");
    assert_eq!((&ran.json()["pairs"], &ran.json()["dropped"]), (&json!(300), &json!(2)));
    assert!(ran.stderr.contains("2 rows without a latent, the first row 301: \"9999\" is no row of the latents"));
    assert_eq!(evaluated("encoded"), evaluated("numbered"));

    // A query is an id, a row, or a latent.
    let values = floats(&std::fs::read(place.path("words.NPY")).unwrap()[128..][..48 * 4]);
    let search = |run: &str, query: &str| {
        let mut search = place.command(&format!("search {run} --from left --to right --data test.tsv -k 3 --json"));
        Ran::from(search.arg(query).output().unwrap())
    };
    let found = search("encoded", &words[0]).json()["found"].clone();
    assert_eq!(found.as_array().unwrap().len(), 3);
    for (run, query) in [
        ("named", words[0].clone()),
        ("numbered", "0".to_owned()),
        ("numbered", "words.NPY:0".to_owned()),
        ("numbered", format!("words.parquet:{}", words.len() - 1)),
        ("named", format!("{values:?}")),
    ] {
        assert_eq!(search(run, &query).json()["found"], found, "{run} {query}");
    }
    for (query, message) in [
        ("9999", "is no row of the latents"),
        ("[1.0, 2.0]", "it has 2 values, and the tower takes 48"),
        ("none.npy:0", "cannot read none.npy"),
        ("[1.0, x]", "not a list of numbers"),
    ] {
        search("numbered", query).fails(4, message);
    }

    for (wrong, message) in [
        (
            precomputed.replace("NPY", "npz"),
            "tower `left`: `precomputed` must be true, or a .safetensors, .npy or .parquet",
        ),
        (precomputed.replace("words.tsv", "test.tsv"), "no column `id`"),
        ("precomputed = true\nids = 'words.tsv'".into(), "`ids` is for `precomputed = \"FILE\"`"),
    ] {
        place.write("fusion.toml", train::RECIPE.replace("encoder = 'one'", &wrong));
        place.run("train fusion.toml --out other --device cpu").fails(3, message);
    }
}

/// The distinct cells of a table's first column.
fn first_column(place: &Place, name: &str) -> Vec<String> {
    let mut seen = HashSet::new();
    let table = place.read(name);
    let cells = table.lines().skip(1).map(|line| line.split('\t').next().unwrap().to_owned());
    cells.filter(|cell| seen.insert(cell.clone())).collect()
}

#[test]
fn an_export_with_failed_rows_is_a_precomputed_tower() {
    let place = Place::new("");
    precomputed(&place, "train.safetensors", 60, 1);
    let bytes = std::fs::read(place.path("train.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let (image, text) = (file.tensor("z_image").unwrap(), file.tensor("z_text").unwrap());
    // Row 3 failed, as exports have it; row 5 is broken; the other side is f64 and huge.
    let mut broken = image.data().to_vec();
    broken[3 * 48..4 * 48].copy_from_slice(&f32::NAN.to_le_bytes().repeat(12));
    broken[5 * 48..5 * 48 + 4].copy_from_slice(&f32::INFINITY.to_le_bytes());
    let huge: Vec<u8> = floats(text.data()).iter().flat_map(|value| (f64::from(*value) * 1e20).to_le_bytes()).collect();
    let views = [
        ("z_image", TensorView::new(Dtype::F32, vec![60, 12], &broken).unwrap()),
        ("z_text", TensorView::new(Dtype::F64, vec![60, 8], &huge).unwrap()),
    ];
    place.write("train.safetensors", safetensors::serialize(views, None).unwrap());
    let recipe = "[tower.image]\nprecomputed = true\n[tower.text]\nprecomputed = true\n[[pairs]]\n\
                  train = 'train.safetensors'\nimage = 'z_image'\ntext = 'z_text'\n[train]\nepochs = 1\n";
    place.write("fusion.toml", recipe);
    let ran = place.run("train fusion.toml --out run --device cpu --json");
    for words in [
        "1 row of NaN alone, the first at index 3",
        "1 row left out with values that are not finite, the first at index [5, 0]",
        "the latents of tower `text` have values of about",
    ] {
        assert!(ran.stderr.contains(words), "{words}: {}", ran.stderr);
    }
    assert_eq!((&ran.json()["pairs"], &ran.json()["dropped"]), (&json!(58), &json!(2)));
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
        // What only an evaluation reads is looked at before the training.
        place.write("other.toml", place.read("other.toml").replace("validation", "test"));
        place.run("train other.toml --out other --device cpu").fails(3, message);
        assert!(!place.path("other").exists());
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
    let trained = place.read("fusion.toml").replace("[fit]\nmethod = 'asif'", "[train]\nepochs = 3");
    place.write("trained.toml", trained);
    let message = "the latents of tower `image` have values of about 3e38, too far from 1 to train on; multiply";
    let ran = place.run("train trained.toml --out trained --device cpu");
    ran.fails(1, message);
    assert!(ran.stderr.contains("error: the loss of step 1 is "), "{}", ran.stderr);
    let ran = place.run("train fusion.toml --out other");
    assert!(ran.code != 0 && !place.path("other/run.json").exists(), "{}", ran.stderr);
}

#[test]
fn embeddings_and_latents_carry_their_ids() {
    let place = train::place();
    place.write("fusion.toml", train::RECIPE.replace("epochs = 60", "epochs = 2"));
    place.json("train fusion.toml --out run --device cpu");
    place.write("items.csv", "a,key\nw1 v1,x\n,y\nw2 v2,\"z\n1\"\n");
    let embed = "embed run --tower left --data items.csv --column a --id key --out";
    assert_eq!(place.json_code(&format!("{embed} out.parquet"), 4)["failed_rows"], json!([2]));
    assert!(std::fs::read(place.path("out.parquet")).unwrap().starts_with(b"PAR1"));
    place.run(&format!("{embed} out.npy")).fails(1, "the id of row 3 has a tab or a line end; write a .parquet");
    assert!(!place.path("out.npy").exists() && !place.path("out.npy.ids.tsv").exists());
    place.write("items.csv", "a,key\nw1 v1,x\n,y\nw2 v2,z\n");
    assert_eq!(place.run(&format!("{embed} out.npy")).code, 4);
    assert_eq!(place.read("out.npy.ids.tsv"), "id\nx\ny\nz\n");
    let export = "cache export --data items.csv --column a --encoder one --id key --out";
    assert_eq!(place.run(&format!("{export} latents.safetensors")).code, 4);
    assert_eq!(place.read("latents.safetensors.ids.tsv"), "id\nx\ny\nz\n");
    place.run("cache export --data items.csv --column a --encoder one --id kay --out l.npy").fails(3, "`key`?");
}
