use safetensors::SafeTensors;
use std::path::Path;
use std::sync::Arc;

use super::*;
use crate::device::Cpu;
use crate::latents::Dense;

/// Pairs that the golden file was fitted to.
const PAIRS: usize = 60;

struct Golden(Vec<u8>);

impl Golden {
    fn read() -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/golden/kernel_cca.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    fn values(&self, name: &str) -> (Vec<f32>, usize) {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap();
        (bytemuck::pod_collect_to_vec::<u8, f32>(tensor.data()), tensor.shape()[1])
    }

    /// The training rows of a side, or the new ones.
    fn side(&self, name: &str, new: bool) -> Box<dyn Latents> {
        let (values, width) = self.values(name);
        let (train, later) = values.split_at(PAIRS * width);
        Box::new(Dense::new(if new { later } else { train }.to_vec(), width))
    }

    fn pairs(&self) -> PairSet {
        PairSet { towers: [0, 1], latents: [self.side("left", false), self.side("right", false)], weight: 1.0 }
    }

    fn towers(&self) -> Vec<Inlet> {
        ["left", "right"].map(|name| Inlet { name: name.to_owned(), width: self.values(name).1 }).into()
    }
}

fn options() -> Options {
    let options = KernelCcaOptions { rank: Some(40), width: Some(8), neighbours: Some(5), ..Default::default() };
    options.resolve().unwrap()
}

fn fitted(towers: &[Inlet], sets: &[PairSet], options: &Options) -> Space {
    fit(towers, sets, options, &|| false).unwrap()
}

/// Inner products of rows.
fn products(x: &[f32], y: &[f32], width: usize) -> Vec<f32> {
    let product = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f32>();
    x.chunks_exact(width).flat_map(|x| y.chunks_exact(width).map(move |y| product(x, y))).collect()
}

fn near(got: &[f32], wanted: &[f32], tolerance: f32) {
    assert_eq!(got.len(), wanted.len());
    let furthest = got.iter().zip(wanted).map(|(got, wanted)| (got - wanted).abs()).fold(0.0, f32::max);
    assert!(furthest < tolerance, "{furthest}");
}

#[test]
fn scores_are_those_of_the_formulas() {
    let golden = Golden::read();
    let space = fitted(&golden.towers(), &[golden.pairs()], &options());
    let [left, right] = [0, 1].map(|tower| space.embed(tower, &*golden.side(["left", "right"][tower], true)).unwrap());
    assert_eq!((space.shared(), space.width()), (8, 10));
    near(&products(&left, &right, 10), &golden.values("scores").0, 1e-4);
    let plain = |rows: &[f32]| rows.chunks_exact(10).flat_map(|row| row[..8].to_vec()).collect::<Vec<f32>>();
    near(&products(&plain(&left), &plain(&right), 8), &golden.values("plain").0, 1e-4);
    // Among items of one tower there is no term against hubs, in either direction.
    for (tower, rows) in [&left, &right].into_iter().enumerate() {
        let queries: Vec<f32> = rows.chunks_exact(10).flat_map(|row| space.query(row, tower)).collect();
        let within = products(&queries, rows, 10);
        near(&within, &products(&plain(rows), &plain(rows), 8), 1e-6);
        if tower == 1 {
            near(&within, &golden.values("within").0, 1e-4);
        }
        let across: Vec<f32> = rows.chunks_exact(10).flat_map(|row| space.query(row, 1 - tower)).collect();
        assert_eq!(across, *rows);
    }
    let without = fitted(&golden.towers(), &[golden.pairs()], &Options { hubness: 0.0, ..options() });
    assert_eq!(without.width(), 8);
    assert_eq!(without.embed(0, &*golden.side("left", true)).unwrap(), plain(&left));
}

#[test]
fn a_file_holds_the_whole_space() {
    let golden = Golden::read();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("adapters.safetensors");
    for hubness in [0.25, 0.0] {
        let space = fitted(&golden.towers(), &[golden.pairs()], &Options { hubness, ..options() });
        space.save(&path).unwrap();
        let read = Space::load(Arc::new(Cpu::default()), &path).unwrap();
        assert!(read.towers().eq(space.towers()));
        for (tower, name) in ["left", "right"].into_iter().enumerate() {
            let latents = golden.side(name, true);
            assert_eq!(read.embed(tower, &*latents).unwrap(), space.embed(tower, &*latents).unwrap());
        }
    }
}

/// Of two towers given as two sets of half of the pairs each, the general way must find what the short one does.
#[test]
fn several_sets_are_one_problem() {
    let golden = Golden::read();
    let (left, right) = (golden.side("left", false), golden.side("right", false));
    let part = |latents: &dyn Latents, rows: std::ops::Range<usize>| -> Box<dyn Latents> {
        let mut values = vec![0.0; rows.len() * latents.width()];
        values.chunks_exact_mut(latents.width()).zip(rows).for_each(|(out, row)| latents.copy_row(row, out));
        Box::new(Dense::new(values, latents.width()))
    };
    let set = |rows: std::ops::Range<usize>, towers: [usize; 2]| {
        let mut latents = [part(&*left, rows.clone()), part(&*right, rows)];
        if towers == [1, 0] {
            latents.reverse();
        }
        PairSet { towers, latents, weight: 1.0 }
    };
    let options = Options { hubness: 0.0, ..options() };
    let whole = fitted(&golden.towers(), &[golden.pairs()], &options);
    let scores = |space: &Space| {
        let [left, right] =
            [0, 1].map(|tower| space.embed(tower, &*golden.side(["left", "right"][tower], true)).unwrap());
        products(&left, &right, 8)
    };
    for sets in [
        vec![set(0..30, [0, 1]), set(30..60, [0, 1])],
        vec![set(0..30, [0, 1]), set(30..60, [1, 0])],
        vec![set(0..60, [1, 0])],
    ] {
        near(&scores(&fitted(&golden.towers(), &sets, &options)), &scores(&whole), 1e-4);
    }
}

#[test]
fn three_towers_meet_in_one_space() {
    // Three views of hidden coordinates, of which the second is paired with both others.
    let view = |width: usize, rows: std::ops::Range<usize>| -> Box<dyn Latents> {
        let hidden = |row: usize, at: usize| ((row * 7919 + at * 104_729) % 997) as f32 / 997.0 - 0.5;
        let value = |row: usize, column: usize| -> f32 {
            (0..3).map(|at| hidden(row, at) * (((column * 31 + at * 17 + width) % 13) as f32 - 6.0)).sum::<f32>().tanh()
        };
        let values = rows.flat_map(|row| (0..width).map(move |column| value(row, column))).collect();
        Box::new(Dense::new(values, width))
    };
    let towers: Vec<Inlet> =
        [("a", 8), ("b", 10), ("c", 12)].map(|(name, width)| Inlet { name: name.to_owned(), width }).into();
    let set = |towers: [usize; 2], rows: std::ops::Range<usize>| {
        let latents = towers.map(|tower| view([8, 10, 12][tower], rows.clone()));
        PairSet { towers, latents, weight: 1.0 }
    };
    let space = fitted(&towers, &[set([0, 1], 0..80), set([1, 2], 40..140)], &options());
    assert_eq!(space.width(), space.shared() + 6);
    let embedded = [0, 1, 2].map(|tower| space.embed(tower, &*view([8, 10, 12][tower], 200..240)).unwrap());
    for [from, to] in [[0, 1], [1, 2], [2, 0]] {
        let scores = products(&embedded[from], &embedded[to], space.width());
        let found = (0..40).filter(|&row| {
            let scores = &scores[row * 40..(row + 1) * 40];
            scores.iter().all(|score| *score <= scores[row])
        });
        // Chance finds one.
        let found = found.count();
        assert!(found >= 15, "{from} to {to}: {found} of 40");
    }
}

#[test]
fn what_cannot_be_fitted_is_told() {
    let golden = Golden::read();
    let failed = |sets: &[PairSet]| fit(&golden.towers(), sets, &options(), &|| false).err().unwrap().to_string();
    let equal = |name: &str| -> Box<dyn Latents> {
        let (_, width) = golden.values(name);
        Box::new(Dense::new(vec![0.5; 9 * width], width))
    };
    let told = failed(&[PairSet { towers: [0, 1], latents: [equal("left"), equal("right")], weight: 1.0 }]);
    assert_eq!(told, "kernel CCA needs at least 4 different items on either side, but tower `left` has 1");
    let stopped = fit(&golden.towers(), &[golden.pairs()], &options(), &|| true);
    assert!(matches!(stopped, Err(KernelCcaError::Stopped)));
    let wrong = |options: KernelCcaOptions| options.resolve().unwrap_err().to_string();
    assert_eq!(
        wrong(KernelCcaOptions { tau: Some(0.0), ..Default::default() }),
        "`tau = 0`: must be a number of at least 0.001"
    );
    assert_eq!(
        wrong(KernelCcaOptions { hubness: Some(1.0), ..Default::default() }),
        "`hubness = 1`: must be at most 0.99"
    );
    assert_eq!(
        wrong(KernelCcaOptions { width: Some(0), ..Default::default() }),
        "`width = 0`: must be a whole number above 0"
    );
    assert!(KernelCcaOptions { rho: Some(f32::NAN), ..Default::default() }.resolve().is_err());
}

/// Latents of any scale give the same space.
#[test]
fn the_scale_of_latents_does_not_matter() {
    let golden = Golden::read();
    let scaled = |factor: f32| {
        let side = |name: &str, new: bool| -> Box<dyn Latents> {
            let latents = golden.side(name, new);
            let mut values = vec![0.0; latents.len() * latents.width()];
            let rows = values.chunks_exact_mut(latents.width()).enumerate();
            rows.for_each(|(row, out)| latents.copy_row(row, out));
            values.iter_mut().for_each(|value| *value *= factor);
            Box::new(Dense::new(values, latents.width()))
        };
        let set = PairSet { towers: [0, 1], latents: [side("left", false), side("right", false)], weight: 1.0 };
        let space = fitted(&golden.towers(), &[set], &options());
        let [left, right] = [0, 1].map(|tower| space.embed(tower, &*side(["left", "right"][tower], true)).unwrap());
        products(&left, &right, space.width())
    };
    let expected = scaled(1.0);
    for factor in [1e20, 1e-20] {
        near(&scaled(factor), &expected, 1e-3);
    }
}
