//! Search against a naive oracle in f64.

use super::*;

/// A gallery of `rows` items of noise, some of which are equal, and some removed; the vectors that are left.
fn gallery(folder: &Path, rows: usize, width: usize, dtype: Dtype) -> Vec<(usize, Vec<f32>)> {
    let mut writer = match rows {
        // Tiles that end with a segment, and such that do not.
        0..100 => create(folder, width, dtype),
        _ => Writer::create(folder, info(width, dtype)).unwrap(),
    };
    let names: Vec<String> = (0..rows).map(|row| row.to_string()).collect();
    let items: Vec<Exhibit> = names.iter().enumerate().map(|(row, id)| exhibit(id, row % 10)).collect();
    let vectors = noise(rows.div_ceil(2) * width, 1 + rows as u64);
    // Each comes twice.
    let vectors: Vec<f32> = vectors.iter().chain(&vectors).copied().take(rows * width).collect();
    writer.append(&items, &vectors).unwrap();
    let gone: Vec<&str> = (0..rows).filter(|row| row % 7 == 3).map(|row| names[row].as_str()).collect();
    writer.remove(&gone).unwrap();
    let gallery = Gallery::open(folder).unwrap();
    gallery.rows().map(|row| (row, gallery.vector(row).unwrap())).collect()
}

/// The products in f64, the best first, and of equal ones the first.
fn oracle(rows: &[(usize, Vec<f32>)], query: &[f32]) -> Vec<(usize, f64)> {
    let dot = |row: &[f32]| row.iter().zip(query).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let mut scores: Vec<_> = rows.iter().map(|(row, values)| (*row, dot(values))).collect();
    scores.sort_by(|one, other| other.1.total_cmp(&one.1).then(one.0.cmp(&other.0)));
    scores
}

/// Checks hits against the oracle, whose order may differ only for nearly equal scores.
fn hold(hits: &[Hit], oracle: &[(usize, f64)], k: usize, width: usize) {
    let tolerance = 1e-6 * width as f64;
    assert_eq!(hits.len(), k.min(oracle.len()));
    let scores: BTreeMap<usize, f64> = oracle.iter().copied().collect();
    for (hit, (_, best)) in hits.iter().zip(oracle) {
        let exact = scores[&hit.row];
        assert!((f64::from(hit.score) - exact).abs() < tolerance, "{hit:?} {exact}");
        assert!((exact - best).abs() < 2.0 * tolerance, "{hit:?} {best}");
    }
    let ordered =
        |pair: &[Hit]| pair[0].score > pair[1].score || pair[0].score == pair[1].score && pair[0].row < pair[1].row;
    assert!(hits.windows(2).all(ordered));
}

#[test]
fn the_nearest_are_those_of_the_oracle() {
    for (rows, width) in [(1, 1), (3, 2), (9, 63), (65, 5), (5003, 65), (2600, 512), (130, 3000)] {
        for dtype in [Dtype::F32, Dtype::F16] {
            let folder = tempfile::tempdir().unwrap();
            let left = gallery(folder.path(), rows, width, dtype);
            let gallery = Gallery::open(folder.path()).unwrap();
            for (count, k) in [(1, 1), (1, 10), (2, rows + 5), (7, 3), (300, 10)] {
                let queries = noise(count * width, 99);
                let found = gallery.search(&queries, k, None).unwrap();
                assert_eq!(found.len(), count);
                for (hits, query) in found.iter().zip(queries.chunks(width)) {
                    hold(hits, &oracle(&left, query), k, width);
                }
            }
            assert_eq!(gallery.search(&[], 5, None).unwrap(), Vec::<Vec<Hit>>::new());
            assert_eq!(gallery.search(&noise(2 * width, 0), 0, None).unwrap(), [[], []]);
        }
    }
}

#[test]
fn equal_scores_come_in_the_order_of_rows() {
    let folder = tempfile::tempdir().unwrap();
    let mut writer = Writer::create(folder.path(), info(3, Dtype::F32)).unwrap();
    let names: Vec<String> = (0..9000).map(|row| row.to_string()).collect();
    let vectors: Vec<f32> = (0..9000).flat_map(|row| [0.0, (row % 3) as f32, -0.0]).collect();
    writer.append(&exhibits(&names.iter().map(String::as_str).collect::<Vec<_>>()), &vectors).unwrap();
    let gallery = Gallery::open(folder.path()).unwrap();
    let rows = |query: &[f32], k| -> Vec<Vec<usize>> {
        let found = gallery.search(query, k, None).unwrap();
        found.iter().map(|hits| hits.iter().map(|hit| hit.row).collect()).collect()
    };
    let (twos, zeros): (Vec<usize>, Vec<usize>) = ((2..9000).step_by(3).collect(), (0..9000).step_by(3).collect());
    assert_eq!(rows(&[1.0, 1.0, 1.0], 4), [[2, 5, 8, 11]]);
    assert_eq!(rows(&[1.0, 0.5, 0.0, 1.0, -1.0, 1.0], 3000), [twos, zeros]);
    // 0 and -0 are equal.
    assert_eq!(rows(&[1.0, 0.0, -1.0], 9000), [(0..9000).collect::<Vec<_>>()]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    gallery(folder.path(), 5003, 65, Dtype::F32);
    let gallery = Gallery::open(folder.path()).unwrap();
    let queries = noise(9 * 65, 5);
    let found = [1, 2, 3, 8].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| gallery.search(&queries, 20, None).unwrap())
    });
    assert!(found.iter().all(|one| *one == found[0]));
}

#[test]
fn many_searches_run_at_once_while_a_writer_writes() {
    fn shared<T: Send + Sync>() {}
    shared::<(Gallery, Writer, Filter, GalleryError)>();
    let folder = tempfile::tempdir().unwrap();
    gallery(folder.path(), 2600, 65, Dtype::F32);
    let gallery = Gallery::open(folder.path()).unwrap();
    let queries = noise(8 * 65, 5);
    let expected = gallery.search(&queries, 20, None).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(gallery.search(&queries, 20, None).unwrap(), expected));
        }
        let mut writer = Writer::open(folder.path()).unwrap();
        for row in 0..20 {
            writer.append(&[exhibit(&format!("new {row}"), 1)], &[100.0; 65]).unwrap();
            assert_eq!(Gallery::open(folder.path()).unwrap().len(), gallery.len() + row + 1);
        }
    });
}

#[test]
fn a_filter_keeps_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let left = gallery(folder.path(), 5003, 3, Dtype::F32);
    let gallery = Gallery::open(folder.path()).unwrap();
    let query = noise(3, 5);
    for (filter, keeps) in [
        ("price<2", (|row| row % 10 < 2) as fn(usize) -> bool),
        ("price = 4 and id >= 4000", |row| row % 10 == 4 && row >= 4000),
        ("name ~ 'THE 77' or id = 5", |row| row.to_string().starts_with("77") || row == 5),
        ("name = \"the 8\"", |row| row == 8),
        ("price > 9", |_| false),
    ] {
        let filter: Filter = filter.parse().unwrap();
        let kept: Vec<_> = left.iter().filter(|(row, _)| keeps(*row)).cloned().collect();
        let rows: Vec<usize> = kept.iter().map(|(row, _)| *row).collect();
        assert_eq!(gallery.filtered(&filter).unwrap(), rows);
        hold(&gallery.search(&query, 10, Some(&filter)).unwrap()[0], &oracle(&kept, &query), 10, 3);
    }
    let message = gallery.search(&query, 1, Some(&"prices < 3".parse().unwrap())).unwrap_err().to_string();
    assert!(message.contains("`prices`; did you mean `price`?"), "{message}");
}

#[test]
fn queries_of_another_width_or_without_a_value_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    gallery(folder.path(), 9, 3, Dtype::F32);
    let gallery = Gallery::open(folder.path()).unwrap();
    assert!(matches!(gallery.search(&[1.0; 4], 1, None), Err(GalleryError::QueryWidth { count: 4, width: 3 })));
    let error = gallery.search(&[1.0, 1.0, 1.0, f32::NAN, 1.0, 1.0], 1, None);
    assert!(matches!(error, Err(GalleryError::QueryNotFinite { query: 1 })));
    assert!(matches!(gallery.exhibit(9), Err(GalleryError::Row { row: 9, rows: 9 })));
    assert!(matches!(gallery.vector(9), Err(GalleryError::Row { row: 9, rows: 9 })));
}
