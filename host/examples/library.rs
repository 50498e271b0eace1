//! The library at work: trains a recipe with towers `text` and `image`, builds a gallery of the pictures in its test
//! file, and finds the nearest items to texts and pictures in memory.
//!
//! `cargo run --release --example library -- plugins.toml fusion.toml FOLDER PICTURE TEXT...`

use std::error::Error;
use std::path::Path;

use fusemix::config::Recipe;
use fusemix::dataset::Item;
use fusemix::device::DeviceChoice;
use fusemix::gallery::{Dtype, Gallery};
use fusemix::session::{FitOptions, GalleryColumns, Session};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [plugins, recipe, folder, picture, texts @ ..] = &arguments[..] else {
        return Err("usage: library PLUGINS RECIPE FOLDER PICTURE TEXT...".into());
    };
    let (recipe, folder) = (Recipe::read(Path::new(recipe))?, Path::new(folder));
    let test = recipe.pairs[0].test.as_ref().ok_or("the recipe needs a `test` file")?;

    let session = Session::open(plugins)?;
    session.fit(&recipe, &folder.join("run"), &FitOptions::default())?;
    let model = session.model(&folder.join("run"), DeviceChoice::Auto)?;

    let columns = GalleryColumns::default();
    model.build_gallery("image", test, &columns, &[], Dtype::F32, &folder.join("gallery"))?;
    let gallery = Gallery::open(&folder.join("gallery"))?;

    let texts: Vec<Item<'_>> = texts.iter().map(|text| Item::text(text)).collect();
    let pictures = [Item::bytes(std::fs::read(picture)?)];
    let queries = [model.embed("text", &texts, false)?, model.embed("image", &pictures, false)?].concat();
    let queries = queries.into_iter().collect::<Result<Vec<_>, _>>()?;
    for hit in model.search_gallery(&gallery, &queries, 1, None)?.iter().flatten() {
        println!("{:.3} {}", hit.score, hit.id);
    }
    Ok(())
}
