//! A folder that looks like the repository after the quickstart, with stand-ins for its encoders.

use std::fs;

use crate::common::{Place, copy_folder, repository};

/// The encoders that commands of the documentation use, and what they take.
const ENCODERS: [(&str, &str); 5] =
    [("minilm", "text"), ("mpnet", "text"), ("letters", "text"), ("efficientnet", "image"), ("whisper", "audio")];

const RECIPE: &str = "\
[tower.image]
encoder = 'efficientnet'
[tower.text]
encoder = 'minilm'
[[pairs]]
train = 'train.tsv'
validation = 'validation.tsv'
test = 'test.tsv'
image = 'file'
text = 'caption'
";

/// Rows of the tables by their names.
const PARTS: [(&str, std::ops::Range<usize>); 3] = [("train", 0..32), ("validation", 32..40), ("test", 40..48)];

/// Two words, another two for each row.
fn caption(row: usize) -> String {
    format!("word{} word{}", row % 8, 8 + row / 8)
}

/// The file of a row, without its ending.
fn stamp(row: usize) -> String {
    if row == 0 { "animals/birds/crow".to_owned() } else { format!("animals/{row}") }
}

/// A table of the rows, with a cell that `cells` makes of each.
fn table(header: &str, rows: std::ops::Range<usize>, cells: impl Fn(usize) -> String) -> String {
    rows.fold(format!("{header}\n"), |table, row| table + &cells(row) + "\n")
}

/// The folder, with a trained run.
pub(super) fn scene() -> Place {
    let encoder = |(name, modality): (&str, &str)| {
        format!("[encoder.{name}]\nplugin = 'mock'\nsalt = '{name}'\nmodality = '{modality}'\n")
    };
    let place = Place::new(&format!("[[plugin]]\nname = 'mock'\n{}", ENCODERS.map(encoder).concat()));
    for name in ["fusion.toml", "sounds.toml"] {
        let file = format!("examples/stamps/{name}");
        place.write(&file, fs::read(repository().join(&file)).unwrap());
    }
    // The stand-ins have no layers and poolings.
    let sweep = fs::read_to_string(repository().join("examples/stamps/sweep.toml")).unwrap();
    let (start, rest) = sweep.split_once("[encoder.").unwrap();
    place.write("examples/stamps/sweep.toml", format!("{start}{}", &rest[rest.find("[[pairs]]").unwrap()..]));
    place.write("fusion.toml", RECIPE);
    place.write("fusion-mpnet.toml", RECIPE.replace("minilm", "mpnet"));
    for row in 0..48 {
        place.write(&format!("photos/{row}.png"), caption(row));
        for ending in ["png", "ogg"] {
            place.write(&format!("target/assets/stamps/{}.{ending}", stamp(row)), caption(row));
        }
    }
    for (name, rows) in PARTS {
        let photos = table("file\tcaption", rows.clone(), |row| format!("photos/{row}.png\t{}", caption(row)));
        place.write(&format!("{name}.tsv"), photos);
        let file = |row| format!("../assets/stamps/{}", stamp(row));
        let pairs = table("file\tcaption", rows.clone(), |row| format!("{}.png\t{}", file(row), caption(row)));
        place.write(&format!("target/quickstart/{name}.tsv"), pairs);
        let sounds =
            table("sound\tcaption\tfile", rows, |row| format!("{0}.ogg\t{1}\t{0}.png", file(row), caption(row)));
        place.write(&format!("target/quickstart/sounds-{name}.tsv"), sounds);
    }
    place.write(
        "shop.tsv",
        "sku\tfile\tname\tprice\nrose-7\tshop/rose.png\tA red rose.\t12\noak-2\tshop/oak.png\tAn oak.\t80\n",
    );
    place.write("shop/rose.png", "a red rose");
    place.write("shop/oak.png", "an oak tree");
    place.write("queries.txt", "a red flower\na bird\n");
    place.json("train examples/stamps/fusion.toml --out target/quickstart/run --device cpu");
    place
}

/// Another folder with all that this one holds.
pub(super) fn copy(scene: &Place) -> Place {
    let place = Place::new("");
    copy_folder(&scene.path(""), &place.path(""));
    place
}
