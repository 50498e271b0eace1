//! A search by codes finds nearly what the exact search finds, whatever was added, removed or filtered since.

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

use super::*;
use crate::stop::Stop;

const WIDTH: usize = 48;

/// Vectors of length 1 around 20 centres, all of them on one side of the sphere, as those of a modality are.
fn vectors(count: usize, seed: u64) -> Vec<f32> {
    let (centres, own) = (noise(20 * WIDTH, 7), noise(count * WIDTH, seed));
    let mut all = Vec::new();
    for (row, own) in own.chunks(WIDTH).enumerate() {
        let centre = &centres[row % 20 * WIDTH..][..WIDTH];
        let vector: Vec<f32> = own.iter().zip(centre).map(|(own, centre)| 0.6 * own + centre + 0.8).collect();
        let length = vector.iter().map(|value| value * value).sum::<f32>().sqrt();
        all.extend(vector.iter().map(|value| value / length));
    }
    all
}

fn add(writer: &mut Writer, ids: std::ops::Range<usize>, seed: u64) {
    let exhibits: Vec<Exhibit> = ids.clone().map(|id| exhibit(&format!("{id}"), id % 3)).collect();
    writer.append(&exhibits, &vectors(ids.len(), seed)).unwrap();
}

/// A gallery of 12,000 items whose codes were made.
fn coded(dtype: Dtype) -> (TempDir, PathBuf) {
    coded_of(dtype, 12_000)
}

fn coded_of(dtype: Dtype, items: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("gallery");
    add(&mut Writer::create(&path, info(WIDTH, dtype)).unwrap(), 0..items, 1);
    let made = Gallery::open(&path).unwrap().make_codes(&Stop::default()).unwrap().unwrap();
    assert!(made.rows == items && made.bits == 512 && made.recall > 0.95, "{made:?}");
    (folder, path)
}

/// The share of the ten nearest of 50 queries that a search by codes finds; scores are those of the exact search.
fn recall(path: &Path, filter: Option<&str>) -> f64 {
    let filter: Option<Filter> = filter.map(|filter| filter.parse().unwrap());
    let queries = vectors(50, 99);
    let search = |gallery: Gallery| gallery.search(&queries, 10, filter.as_ref()).unwrap();
    let gallery = Gallery::open(path).unwrap();
    assert!(gallery.codes().is_some());
    let (found, exact) = (search(gallery), search(Gallery::open(path).unwrap().exact()));
    let mut hits = 0;
    for (found, exact) in found.iter().zip(&exact) {
        assert_eq!(found.len(), 10);
        let rows: HashSet<usize> = exact.iter().map(|hit| hit.row).collect();
        hits += found.iter().filter(|hit| rows.contains(&hit.row)).count();
        assert!(found[0].score <= exact[0].score + 1e-5);
        assert!(found.is_sorted_by(|one, other| one.score >= other.score));
    }
    hits as f64 / 500.0
}

#[test]
fn nearly_all_of_the_nearest_are_found_in_every_precision() {
    for dtype in [Dtype::F32, Dtype::F16, Dtype::I8] {
        let (_folder, path) = coded(dtype);
        let (all, some) = (recall(&path, None), recall(&path, Some("price = 1")));
        assert!(all > 0.93 && some > 0.93, "{all} {some}");
        Gallery::open(&path).unwrap().verify().unwrap();
    }
}

#[test]
fn what_was_added_is_found_and_what_was_removed_is_not() {
    let (_folder, path) = coded(Dtype::F32);
    let mut writer = Writer::open(&path).unwrap();
    add(&mut writer, 20_000..20_100, 5);
    let gone: Vec<String> = (0..12_000).step_by(2).map(|id| id.to_string()).collect();
    writer.remove(&gone.iter().map(String::as_str).collect::<Vec<_>>()).unwrap();
    drop(writer);
    let recall = recall(&path, None);
    assert!(recall > 0.93, "{recall}");
    let gallery = Gallery::open(&path).unwrap();
    let found = gallery.search(&vectors(100, 5)[40 * WIDTH..41 * WIDTH], 5, None).unwrap().remove(0);
    assert_eq!(gallery.exhibit(found[0].row).unwrap().id, "20040");
    assert!(found.iter().all(|hit| hit.row >= 12_000 || hit.row % 2 == 1));
}

#[test]
fn many_rows_without_a_code_do_not_narrow_the_search_of_the_others() {
    let (_folder, path) = coded_of(Dtype::F32, 40_000);
    add(&mut Writer::open(&path).unwrap(), 40_000..100_000, 5);
    for filter in [None, Some("price = 1"), Some("price = 1 or id >= 30000")] {
        let recall = recall(&path, filter);
        assert!(recall > 0.93, "{filter:?} {recall}");
    }
}

/// What codes it may have begun before.
#[test]
fn a_gallery_gets_no_codes_of_the_one_that_was_in_its_place() {
    let (_folder, path) = coded(Dtype::F32);
    let before = Gallery::open(&path).unwrap();
    fs::remove_dir_all(&path).unwrap();
    add(&mut Writer::create(&path, info(WIDTH, Dtype::F32)).unwrap(), 0..12_000, 2);
    let error = before.make_codes(&Stop::default()).unwrap_err();
    assert!(matches!(error, GalleryError::Rebuilt { .. }), "{error}");
    let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(files.iter().all(|name| !name.to_string_lossy().contains("codes")), "{files:?}");
}

#[test]
fn codes_are_the_same_whatever_made_them_and_damage_is_told() {
    let (_folder, path) = coded(Dtype::F32);
    let file = path.join("codes");
    let first = fs::read(&file).unwrap();
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| Gallery::open(&path).unwrap().make_codes(&Stop::default()).unwrap().unwrap());
    assert!(fs::read(&file).unwrap() == first);
    let mut damaged = first.clone();
    *damaged.last_mut().unwrap() ^= 1;
    fs::write(&file, &damaged).unwrap();
    let message = Gallery::open(&path).unwrap().verify().unwrap_err().to_string();
    assert!(message.contains("make them anew"), "{message}");
    // What cannot be codes of this gallery is not used.
    for wrong in [&first[..first.len() - 1], &first[..100], b"{}"] {
        fs::write(&file, wrong).unwrap();
        let gallery = Gallery::open(&path).unwrap();
        assert!(gallery.codes().is_none());
        assert_eq!(gallery.search(&vectors(1, 3), 10, None).unwrap()[0].len(), 10);
    }
    let stop = Stop::default();
    stop.ask();
    fs::remove_file(&file).unwrap();
    assert!(Gallery::open(&path).unwrap().make_codes(&stop).unwrap().is_none());
    assert!(!file.exists());
}
