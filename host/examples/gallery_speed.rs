//! Times of exact search over a gallery, for tests/reference/gallery.py, which drives it line by line.
//!
//! `gallery_speed build GALLERY VECTORS.raw WIDTH [f16]`, then `gallery_speed serve GALLERY QUERIES.raw`, which searches
//! exactly; `gallery_speed index GALLERY` makes codes, and `gallery_speed approximate GALLERY QUERIES.raw` goes by them.

use fusemix::gallery::{Dtype, Exhibit, Gallery, GalleryInfo, Origin, Writer};
use fusemix::stop::Stop;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, stdin};
use std::path::Path;
use std::time::Instant;

/// Rows of a commit.
const ROWS: usize = 8192;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["build", gallery, vectors, width] => build(gallery.as_ref(), vectors, width.parse()?, Dtype::F32),
        ["build", gallery, vectors, width, "f16"] => build(gallery.as_ref(), vectors, width.parse()?, Dtype::F16),
        ["index", gallery] => index(gallery.as_ref()),
        ["serve", gallery, queries] => serve(Gallery::exact, gallery.as_ref(), queries),
        ["approximate", gallery, queries] => serve(|gallery| gallery, gallery.as_ref(), queries),
        _ => Err("usage: gallery_speed build GALLERY VECTORS WIDTH [f16] | serve GALLERY QUERIES".into()),
    }
}

/// A gallery of all rows of a file of raw f32; prints seconds and the peak of the memory.
fn build(gallery: &Path, vectors: &str, width: usize, dtype: Dtype) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let origin = Origin { run: "run".into(), digest: "0".into(), tower: "image".into(), encoders: Default::default() };
    let columns = vec!["caption".to_owned(), "price".to_owned()];
    let mut writer =
        Writer::create(gallery, GalleryInfo { item_column: None, id_column: None, width, dtype, columns, origin })?;
    let mut file = File::open(vectors)?;
    let mut bytes = Vec::new();
    while file.by_ref().take((ROWS * width * 4) as u64).read_to_end(&mut bytes)? > 0 {
        let first = writer.len();
        let exhibits: Vec<Exhibit> = (first..first + bytes.len() / 4 / width)
            .map(|row| Exhibit {
                id: format!("pictures/{row:07}.jpg"),
                metadata: vec![format!("a photograph of item {row} beside another").into(), (row % 1000).into()],
            })
            .collect();
        writer.append(&exhibits, &floats(&bytes))?;
        bytes.clear();
    }
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let memory = |key| status.lines().find(|line| line.starts_with(key)).unwrap_or("unknown memory");
    println!("{:.2} s, {}, {}", start.elapsed().as_secs_f64(), memory("RssAnon"), memory("VmHWM"));
    Ok(())
}

/// Makes the codes; prints seconds, and what they are.
fn index(gallery: &Path) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let codes = Gallery::open(gallery)?.make_codes(&Stop::default())?.ok_or("stopped")?;
    println!("{:.2} s, {codes:?}", start.elapsed().as_secs_f64());
    Ok(())
}

/// Searches the top 10 of COUNT queries, REPEATS times, from the one that is FIRST, for each line `COUNT REPEATS
/// [FIRST [FILTER]]`; prints the mean seconds and the rows of the last search.
fn serve(search: fn(Gallery) -> Gallery, gallery: &Path, queries: &str) -> Result<(), Box<dyn Error>> {
    let start = Instant::now();
    let gallery = search(Gallery::open(gallery)?);
    let queries = floats(&fs::read(queries)?);
    println!("{:e}", start.elapsed().as_secs_f64());
    for line in stdin().lines() {
        let line = line?;
        let mut words = line.splitn(4, ' ');
        let mut number = || words.next().unwrap_or("0").parse::<usize>();
        let (count, repeats, first) = (number()?, number()?, number()?);
        let filter = words.next().map(str::parse).transpose()?;
        let parts: Vec<&[f32]> = queries.chunks_exact(count * gallery.info().width).collect();
        let start = Instant::now();
        let mut rows = Vec::new();
        for repeat in 0..repeats {
            rows = gallery.search(parts[(first + repeat) % parts.len()], 10, filter.as_ref())?;
        }
        let seconds = start.elapsed().as_secs_f64() / repeats as f64;
        let rows: Vec<String> = rows.iter().flatten().map(|hit| hit.row.to_string()).collect();
        println!("{seconds:e} {}", rows.join(" "));
    }
    Ok(())
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}
