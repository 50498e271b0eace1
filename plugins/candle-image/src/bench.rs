use super::*;
use crate::{
    conv::{Pointwise, Stem},
    depthwise::Depthwise,
};
use candle_core::{D, DType};
use candle_nn::VarBuilder;

pub(crate) fn cpu() -> f64 {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed().as_secs_f64() * 1e3
}

fn ms(n: usize, mut f: impl FnMut()) -> f64 {
    f();
    let mut best = f64::MAX;
    for _ in 0..n {
        let t = cpu();
        f();
        best = best.min(cpu() - t);
    }
    best
}

#[test]
#[ignore]
fn bench() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/assets/");
    let options = Options::default().with("model", format!("{root}efficientnet-lite0"));
    let encoder = CandleImage::open(&options, &Host::detached()).unwrap();
    let listing =
        std::process::Command::new("find").args([&format!("{root}stamps/"), "-name", "*.png"]).output().unwrap();
    let mut paths: Vec<String> = String::from_utf8(listing.stdout).unwrap().lines().map(|l| l.to_owned()).collect();
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().step_by(8).map(|p| std::fs::read(p).unwrap()).collect();
    let (mut dec, mut all) = (0.0, 0.0);
    for bytes in &files {
        let t = cpu();
        let _p = encoder.input.decode(bytes).unwrap();
        dec += cpu() - t;
        let t = cpu();
        let _p = encoder.input.pixels(bytes).unwrap();
        all += cpu() - t;
    }
    let n = files.len() as f64;
    println!("{n} decode {:.2} decode+preprocess {:.2} ms a picture", dec / n, all / n);
    let time = |f: &dyn Fn(&Vec<u8>)| {
        let t = cpu();
        files.iter().for_each(f);
        (cpu() - t) / n
    };
    for _ in 0..3 {
        println!(
            "decode {:.3} white {:.3} resize {:.3} all {:.3}",
            time(&|b| {
                encoder.input.decode(b).unwrap();
            }),
            time(&|b| {
                crate::input::on_white(encoder.input.decode(b).unwrap());
            }),
            time(&|b| {
                encoder.input.resize(&crate::input::on_white(encoder.input.decode(b).unwrap())).unwrap();
            }),
            time(&|b| {
                encoder.input.pixels(b).unwrap();
            })
        );
    }
    for batch in [1, 2, 4, 8] {
        let x = Tensor::rand(-1f32, 1.0, (batch, 224, 224, 3), &Device::Cpu).unwrap();
        println!(
            "model, batch {batch}: {:.2} ms a picture",
            ms(20, || {
                encoder.model.forward(&x).unwrap();
            }) / batch as f64
        );
    }
    let faults = || {
        std::fs::read_to_string("/proc/self/stat")
            .unwrap()
            .rsplit(')')
            .next()
            .unwrap()
            .split_whitespace()
            .nth(7)
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    let x1 = Tensor::rand(-1f32, 1.0, (1, 224, 224, 3), &Device::Cpu).unwrap();
    for _ in 0..3 {
        let f = faults();
        encoder.model.forward(&x1).unwrap();
        println!("faults {}", faults() - f);
    }
    let x7 = Tensor::rand(-1f32, 1.0, (1, 7, 7, 1280), &Device::Cpu).unwrap();
    println!(
        "mean {:.3}",
        ms(20, || {
            x7.mean((1, 2)).unwrap();
        })
    );
    let a = Tensor::rand(-1f32, 1.0, (1, 56, 56, 24), &Device::Cpu).unwrap();
    println!(
        "add {:.3}",
        ms(20, || {
            (&a + &a).unwrap();
        })
    );
    let zeros = |shape: &[usize]| Tensor::rand(-1f32, 1.0, shape, &Device::Cpu).unwrap();
    let vb = |w: Tensor, b: usize| {
        VarBuilder::from_tensors(
            [("weight".to_owned(), w), ("bias".to_owned(), zeros(&[b]))].into_iter().collect(),
            DType::F32,
            &Device::Cpu,
        )
    };
    let batch = 4;
    let (mut pw, mut dw, mut gf) = (0.0, 0.0, 0.0);
    let mut point = |side: usize, i: usize, o: usize, relu: bool| {
        let layer = Pointwise::load(i, o, vb(zeros(&[o, i]), o)).unwrap();
        let layer = if relu { layer.relu6() } else { layer };
        let x = zeros(&[batch, side, side, i]);
        let t = ms(30, || {
            layer.forward(&x).unwrap();
        }) / batch as f64;
        let flop = 2.0 * (side * side * i * o) as f64 / 1e6;
        println!("  1x1 {side:3} {i:4}->{o:4} {relu:5} {t:.3} ms {:.0} GFLOP/s", flop / t);
        pw += t;
        gf += flop;
    };
    let stages = [
        (1, 3, 1, 1, 32, 16),
        (2, 3, 2, 6, 16, 24),
        (2, 5, 2, 6, 24, 40),
        (3, 3, 2, 6, 40, 80),
        (3, 5, 1, 6, 80, 112),
        (4, 5, 2, 6, 112, 192),
        (1, 3, 1, 6, 192, 320),
    ];
    let mut side = 112;
    for (repeats, k, s, e, i, o) in stages {
        for r in 0..repeats {
            let (i, s) = if r == 0 { (i, s) } else { (o, 1) };
            if e > 1 {
                point(side, i, i * e, true);
            }
            let layer = Depthwise::load(k, s, i * e, vb(zeros(&[k * k, i * e]), i * e)).unwrap();
            let x = zeros(&[batch, side, side, i * e]);
            let t = ms(30, || {
                layer.forward(&x).unwrap();
            }) / batch as f64;
            let flop = 2.0 * (side.div_ceil(s).pow(2) * k * k * i * e) as f64 / 1e6;
            println!("  dw {k}/{s} {side:3} {:4} {t:.3} ms {:.0} GFLOP/s", i * e, flop / t);
            dw += t;
            side = side.div_ceil(s);
            point(side, i * e, o, false);
        }
    }
    point(7, 320, 1280, true);
    let layer = Stem::load(32, vb(zeros(&[32, 27]), 32)).unwrap();
    let x = zeros(&[batch, 224, 224, 3]);
    let t = ms(30, || {
        layer.forward(&x).unwrap();
    }) / batch as f64;
    println!("stem {t:.2}  pointwise {pw:.2} ({:.0} GFLOP/s)  depthwise {dw:.2}", gf / pw);
    let _ = D::Minus1;
}
