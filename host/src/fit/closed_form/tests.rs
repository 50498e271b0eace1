mod files;

use safetensors::SafeTensors;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::device::Cpu;
use crate::fit::PairSet;
use crate::latents::{Dense, Latents};
use crate::space::Inlet;

/// Training rows of a tower of the golden file.
const ROWS: usize = 60;
const NAMES: [&str; 3] = ["left", "right", "sound"];
const NO_HUBS: Hubs = Hubs { hubness: 0.0, neighbours: 5 };

struct Golden(Vec<u8>);

impl Golden {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/closed_forms.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    fn values(&self, name: &str) -> (Vec<f32>, usize) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        (bytemuck::pod_collect_to_vec::<u8, f32>(tensor.data()), tensor.shape()[1])
    }

    fn scores(&self, name: &str) -> Vec<f32> {
        self.values(name).0
    }

    fn rows(&self, tower: usize, rows: Range<usize>) -> Arc<dyn Latents> {
        let (values, width) = self.values(NAMES[tower]);
        Arc::new(Dense::new(values[rows.start * width..rows.end * width].to_vec(), width))
    }

    /// The training rows of a tower, or the new ones.
    fn side(&self, tower: usize, new: bool) -> Arc<dyn Latents> {
        self.rows(tower, if new { ROWS..ROWS + 20 } else { 0..ROWS })
    }

    fn set(&self, towers: [usize; 2], rows: Range<usize>) -> PairSet {
        PairSet { towers, latents: towers.map(|tower| self.rows(tower, rows.clone())), weight: 1.0, items: None }
    }

    fn pairs(&self) -> PairSet {
        self.set([0, 1], 0..ROWS)
    }

    fn towers(&self, count: usize) -> Vec<Inlet> {
        NAMES[..count].iter().map(|name| Inlet { name: (*name).to_owned(), width: self.values(name).1 }).collect()
    }
}

fn kernel_cca(options: KernelCcaOptions) -> ClosedForm {
    let options = KernelCcaOptions { rank: Some(40), width: Some(8), ..options };
    ClosedForm::KernelCca(options.resolve().unwrap())
}

/// The methods of the golden file, by their names there.
fn methods() -> Vec<(&'static str, ClosedForm)> {
    let cca = CcaOptions { width: Some(8), ..Default::default() }.resolve().unwrap();
    let procrustes = ProcrustesOptions { width: Some(8), ..Default::default() }.resolve().unwrap();
    let asif = AsifOptions { top: Some(10), ..Default::default() }.resolve().unwrap();
    vec![
        ("kernel_cca", kernel_cca(KernelCcaOptions::default())),
        ("cca", ClosedForm::Cca(cca)),
        ("ridge", ClosedForm::Ridge(RidgeOptions::default().resolve().unwrap())),
        ("procrustes", ClosedForm::Procrustes(procrustes)),
        ("asif", ClosedForm::Asif(asif)),
    ]
}

fn try_fit(towers: &[Inlet], fixed: &[bool], sets: &[PairSet], method: &ClosedForm) -> Result<Space, FitError> {
    method.fit(&Problem { towers, fixed, sets, stop: &|| false }, NO_HUBS)
}

fn fitted(towers: &[Inlet], sets: &[PairSet], method: &ClosedForm) -> Space {
    try_fit(towers, &[false, false, false][..towers.len()], sets, method).unwrap()
}

/// The scores of the new rows of two towers.
fn scores(golden: &Golden, space: &Space, ends: [usize; 2]) -> Vec<f32> {
    let [x, y] = ends.map(|tower| space.embed(tower, &*golden.side(tower, true)).unwrap());
    products(&x, &y, space.width())
}

/// Inner products of rows.
fn products(x: &[f32], y: &[f32], width: usize) -> Vec<f32> {
    let product = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    x.chunks_exact(width).flat_map(|x| y.chunks_exact(width).map(move |y| product(x, y))).collect()
}

fn near(name: &str, got: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(got.len(), wanted.len(), "{name}");
    let furthest = got.iter().zip(wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f32::max);
    assert!(furthest < tolerance, "{name}: {furthest}");
}

/// Rows whose greatest score is that of their own column.
fn found(scores: &[f32], columns: usize) -> usize {
    let own = |(row, scores): &(usize, &[f32])| scores.iter().all(|score| *score <= scores[*row]);
    scores.chunks_exact(columns).enumerate().filter(own).count()
}

#[test]
fn scores_are_those_of_the_formulas() {
    let golden = Golden::read();
    let compressed = AsifOptions { width: Some(8), ..Default::default() }.resolve().unwrap();
    let by_length = KernelCcaOptions { standard: Some(Standard::Length), ..Default::default() };
    let more = [("asif_compressed", ClosedForm::Asif(compressed)), ("kernel_cca_length", kernel_cca(by_length))];
    for (name, method) in methods().into_iter().chain(more) {
        let space = fitted(&golden.towers(2), &[golden.pairs()], &method);
        near(name, &scores(&golden, &space, [0, 1]), &golden.scores(name), 1e-4);
    }
}

#[test]
fn towers_come_to_a_space_that_exists() {
    let golden = Golden::read();
    for (name, method) in methods() {
        let space = try_fit(&golden.towers(2), &[false, true], &[golden.pairs()], &method).unwrap();
        let (right, width) = golden.values("right");
        assert_eq!(space.width(), width);
        let name = format!("onto_{name}");
        near(&name, &scores(&golden, &space, [0, 1]), &golden.scores(&name), 1e-4);
        let mut as_they_are = right[ROWS * width..].to_vec();
        as_they_are.chunks_exact_mut(width).for_each(crate::space::unit);
        near(&name, &space.embed(1, &*golden.side(1, true)).unwrap(), &as_they_are, 1e-6);
        // A tower that meets the others only through one that was brought there comes there too.
        let towers = golden.towers(3);
        let sets = [golden.pairs(), golden.set([0, 2], 20..ROWS)];
        let space = try_fit(&towers, &[false, true, false], &sets, &method).unwrap();
        // Chance finds one.
        let found = found(&scores(&golden, &space, [2, 1]), 20);
        assert!(found >= 4, "{name}: {found}");
        let apart = [golden.pairs(), golden.set([2, 2], 0..ROWS)];
        let told = try_fit(&towers, &[false, true, false], &apart, &method).err().unwrap().to_string();
        assert!(told.contains("tower `sound` is not joined"), "{told}");
        let two = try_fit(&golden.towers(2), &[true, true], &[golden.pairs()], &method).err().unwrap().to_string();
        assert_eq!(
            two,
            "identity towers `left` (12 values) and `right` (9) must have the same width: they are one space"
        );
    }
}

#[test]
fn three_towers_are_those_of_the_formulas() {
    let golden = Golden::read();
    let towers = golden.towers(3);
    for (name, method) in methods() {
        let name = format!("three_{name}");
        let mut sets = vec![golden.pairs(), golden.set([1, 2], 20..ROWS)];
        if name == "three_asif" {
            let told = try_fit(&towers, &[false; 3], &sets, &method).err().unwrap().to_string();
            assert!(told.starts_with("towers `left` and `sound` have no pairs with each other"), "{told}");
            sets.push(golden.set([0, 2], 0..30));
        }
        let space = fitted(&towers, &sets, &method);
        let scores = scores(&golden, &space, [0, 2]);
        assert!(found(&scores, 20) >= 6, "{name}: {}", found(&scores, 20));
        if name != "three_procrustes" {
            near(&name, &scores, &golden.scores(&name), 1e-4);
        }
    }
}

/// Of more than two towers too.
#[test]
fn maps_of_procrustes_are_orthonormal() {
    let golden = Golden::read();
    let (_, method) = methods().swap_remove(3);
    let sets = [golden.pairs(), golden.set([1, 2], 20..ROWS), golden.set([0, 2], 0..30)];
    let space = fitted(&golden.towers(3), &sets, &method);
    let Map::Projections(maps) = &space.map else { panic!("{:?}", space.width()) };
    for (tower, map) in maps.iter().enumerate() {
        let (weight, width) = (&map.head.as_ref().unwrap().weight, golden.towers(3)[tower].width);
        for (row, products) in products(weight, weight, width).chunks_exact(map.width()).enumerate() {
            let one: Vec<f32> = (0..map.width()).map(|column| f32::from(u8::from(column == row))).collect();
            near("orthonormal", products, &one, 1e-5);
        }
    }
}

/// With all rows as landmarks, and one more set of equal rows that are none, it is the exact kernel.
#[test]
fn all_rows_as_landmarks_are_the_exact_kernel() {
    let golden = Golden::read();
    // Rows 1 and 0 of `right` are equal: one of them is a landmark.
    let all = kernel_cca(KernelCcaOptions { landmarks: Some(ROWS - 1), ..Default::default() });
    let space = fitted(&golden.towers(2), &[golden.set([1, 0], 0..ROWS)], &all);
    let left = KernelCcaOptions { landmarks: Some(ROWS), ..Default::default() };
    let exact = fitted(&golden.towers(2), &[golden.pairs()], &kernel_cca(left));
    near("exact", &scores(&golden, &exact, [0, 1]), &golden.scores("kernel_cca"), 1e-4);
    // One row of `left` is missing, which changes little.
    near("all but one", &scores(&golden, &space, [0, 1]), &golden.scores("kernel_cca"), 0.1);
    let few = kernel_cca(KernelCcaOptions { landmarks: Some(25), ..Default::default() });
    let few = fitted(&golden.towers(2), &[golden.pairs()], &few);
    assert!(found(&scores(&golden, &few, [0, 1]), 20) >= 8);
}

#[test]
fn the_term_against_hubs_is_that_of_its_formula() {
    let golden = Golden::read();
    let method = kernel_cca(KernelCcaOptions::default());
    let (towers, sets) = (golden.towers(2), [golden.pairs()]);
    let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| false };
    let space = method.fit(&problem, Hubs { hubness: 0.25, neighbours: 5 }).unwrap();
    let [left, right] = [0, 1].map(|tower| space.embed(tower, &*golden.side(tower, true)).unwrap());
    assert_eq!((space.shared(), space.width()), (8, 10));
    near("hubs", &products(&left, &right, 10), &golden.scores("kernel_cca_hubs"), 1e-4);
    let plain = |rows: &[f32]| rows.chunks_exact(10).flat_map(|row| row[..8].to_vec()).collect::<Vec<f32>>();
    near("plain", &products(&plain(&left), &plain(&right), 8), &golden.scores("kernel_cca"), 1e-4);
    // Among items of one tower there is no term against hubs, in either direction.
    for (tower, rows) in [&left, &right].into_iter().enumerate() {
        let queries: Vec<f32> = rows.chunks_exact(10).flat_map(|row| space.query(row, tower)).collect();
        let within = products(&queries, rows, 10);
        near("within", &within, &products(&plain(rows), &plain(rows), 8), 1e-6);
        if tower == 1 {
            near("within", &within, &golden.scores("kernel_cca_within"), 1e-4);
        }
        let across: Vec<f32> = rows.chunks_exact(10).flat_map(|row| space.query(row, 1 - tower)).collect();
        assert_eq!(across, *rows);
    }
    let without = fitted(&towers, &sets, &method);
    assert_eq!(without.width(), 8);
    assert_eq!(without.embed(0, &*golden.side(0, true)).unwrap(), plain(&left));
}

/// Of two towers given as two sets of half of the pairs each, the general way must find what the short one does.
#[test]
fn several_sets_are_one_problem() {
    let golden = Golden::read();
    for (name, method) in methods() {
        let expected = scores(&golden, &fitted(&golden.towers(2), &[golden.pairs()], &method), [0, 1]);
        for sets in [
            vec![golden.set([0, 1], 0..30), golden.set([0, 1], 30..60)],
            vec![golden.set([0, 1], 0..30), golden.set([1, 0], 30..60)],
            vec![golden.set([1, 0], 0..60)],
        ] {
            near(name, &scores(&golden, &fitted(&golden.towers(2), &sets, &method), [0, 1]), &expected, 1e-4);
        }
    }
}

#[test]
fn what_cannot_be_fitted_is_told() {
    let golden = Golden::read();
    let equal = |tower: usize| -> Arc<dyn Latents> {
        let (_, width) = golden.values(NAMES[tower]);
        Arc::new(Dense::new(vec![0.5; 9 * width], width))
    };
    for (name, method) in methods() {
        let sets = [PairSet { towers: [0, 1], latents: [equal(0), equal(1)], weight: 1.0, items: None }];
        match try_fit(&golden.towers(2), &[false; 2], &sets, &method) {
            Err(error) => assert!(
                ["do not vary", "at least 4 different items", "nothing in common"]
                    .iter()
                    .any(|part| error.to_string().contains(part)),
                "{name}: {error}"
            ),
            // All latents are the mean.
            Ok(space) => assert!(scores(&golden, &space, [0, 1]).iter().all(|score| score.is_finite()), "{name}"),
        }
        let (towers, sets) = (golden.towers(2), [golden.pairs()]);
        let stopped =
            method.fit(&Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| true }, NO_HUBS);
        assert!(matches!(stopped, Err(FitError::Stopped)), "{name}");
    }
    let wrong = |options: KernelCcaOptions| options.resolve().unwrap_err().to_string();
    assert_eq!(
        wrong(KernelCcaOptions { tau: Some(0.0), ..Default::default() }),
        "`tau = 0`: must be a number from 0.001 to 100"
    );
    assert_eq!(
        wrong(KernelCcaOptions { width: Some(0), ..Default::default() }),
        "`width = 0`: must be a whole number above 0"
    );
    assert!(KernelCcaOptions { rho: Some(f32::NAN), ..Default::default() }.resolve().is_err());
    let hubs = HubsOptions { hubness: Some(1.0), neighbours: None };
    assert_eq!(hubs.resolve(0.0).unwrap_err().to_string(), "`hubness = 1`: must be at least 0 and at most 0.99");
}

/// A dimension of another size than all others changes nothing, as each is standardised by itself.
#[test]
fn the_scale_of_one_dimension_does_not_matter() {
    let golden = Golden::read();
    let stretched = |rows: Range<usize>, factor: f32| -> Arc<dyn Latents> {
        let (values, width) = golden.values("left");
        let mut values = values[rows.start * width..rows.end * width].to_vec();
        values.iter_mut().step_by(width).for_each(|value| *value *= factor);
        Arc::new(Dense::new(values, width))
    };
    for (name, method) in methods() {
        let scores = |factor: f32| {
            let latents = [stretched(0..ROWS, factor), golden.side(1, false)];
            let space =
                fitted(&golden.towers(2), &[PairSet { towers: [0, 1], latents, weight: 1.0, items: None }], &method);
            let x = space.embed(0, &*stretched(ROWS..ROWS + 20, factor)).unwrap();
            products(&x, &space.embed(1, &*golden.side(1, true)).unwrap(), space.width())
        };
        near(name, &scores(1e12), &scores(1.0), 1e-3);
    }
}

/// Latents of any scale give the same space.
#[test]
fn the_scale_of_latents_does_not_matter() {
    let golden = Golden::read();
    let scaled = |tower: usize, rows: Range<usize>, factor: f32| -> Arc<dyn Latents> {
        let (values, width) = golden.values(NAMES[tower]);
        let values = values[rows.start * width..rows.end * width].iter().map(|value| value * factor).collect();
        Arc::new(Dense::new(values, width))
    };
    for (name, method) in methods() {
        let scores = |factor: f32| {
            let latents = [0, 1].map(|tower| scaled(tower, 0..ROWS, factor));
            let space =
                fitted(&golden.towers(2), &[PairSet { towers: [0, 1], latents, weight: 1.0, items: None }], &method);
            let [x, y] = [0, 1].map(|tower| space.embed(tower, &*scaled(tower, ROWS..ROWS + 20, factor)).unwrap());
            products(&x, &y, space.width())
        };
        let expected = scores(1.0);
        for factor in [1e20, 1e-20] {
            near(name, &scores(factor), &expected, 1e-3);
        }
    }
}

/// Before its first step, a training that begins from a closed form is that closed form; and a file holds it.
#[test]
fn a_training_goes_on_from_a_closed_form() {
    use crate::fit::fusemix::{Extras, Start, TrainOptions, Trainer};
    use crate::nn::AdapterKind;
    use crate::space::TowerSpec;
    let golden = Golden::read();
    let (towers, sets) = (golden.towers(2), [golden.pairs()]);
    let problem = Problem { towers: &towers, fixed: &[false; 2], sets: &sets, stop: &|| false };
    let closed = [
        (Start::Cca, ClosedForm::Cca(CcaOptions::default().resolve().unwrap())),
        (Start::KernelCca, ClosedForm::KernelCca(KernelCcaOptions::default().resolve().unwrap())),
    ];
    for (start, method) in closed {
        let begun = start.begin(&problem, 384).unwrap().unwrap();
        for adapter in [AdapterKind::Mlp, AdapterKind::Linear] {
            let spec =
                |inlet: &Inlet| TowerSpec { name: inlet.name.clone(), width: inlet.width, adapter, blocks: None };
            let specs = towers.iter().map(spec).collect();
            let options = TrainOptions { start: Some(start), lr: Some(1e-3), ..Default::default() };
            let device = Arc::new(Cpu::default());
            let extras = Extras { begun: Some(begun.clone().see(&problem).unwrap()), unpaired: None };
            let trainer = Trainer::begin(device.clone(), specs, sets.to_vec(), &options, 0, &extras).unwrap();
            let space = trainer.space();
            assert!(space.towers().eq(&towers));
            let expected = scores(&golden, &fitted(&towers, &sets, &method), [0, 1]);
            near("start", &scores(&golden, &space, [0, 1]), &expected, 1e-4);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("adapters.safetensors");
            space.save(&path).unwrap();
            let read = Space::load(device, &path).unwrap();
            assert!(read.towers().eq(&towers));
            assert_eq!(scores(&golden, &read, [0, 1]), scores(&golden, &space, [0, 1]));
        }
    }
}
