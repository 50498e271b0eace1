//! `fusemix devices` and `fusemix bench`.

use crate::common::Place;

#[test]
fn devices_says_what_auto_takes_and_why() {
    let place = Place::new("");
    let devices = place.json("devices");
    assert!(devices["cpu"]["name"].as_str().unwrap().starts_with("CPU"));
    assert!(devices["auto"].is_string() && devices["why"].is_string() && devices["adapters"].is_array());
    assert!(place.run("devices").stdout.contains("--device auto uses"));
}

#[test]
fn a_bench_counts_and_splits_what_a_step_takes() {
    let place = Place::new("");
    for precision in ["f32", "bf16"] {
        let ran = place.run(&format!(
            "bench step --dims 96,64 --blocks 2 --batch 300 --width 32 --device cpu --steps 2 \
             --precision {precision} --json"
        ));
        assert_eq!(ran.code, 0, "{}", ran.stderr);
        let bench = ran.json();
        let number = |key: &str| bench[key].as_f64().unwrap();
        assert!((number("pairs_per_second") * number("median_step_seconds") - 300.0).abs() < 1e-6);
        // Three products of two values for each weight and pair (two for the first matrix), three of all pairs.
        let weights = [96.0, 64.0].map(|width: f64| 2.0 * 2.0 * width * 4.0 * width + 32.0 * width);
        let first = [96.0, 64.0].map(|width: f64| width * 4.0 * width);
        let products = 6.0 * (weights[0] + weights[1]) - 2.0 * (first[0] + first[1]);
        let flops = 300.0 * products + 6.0 * 300.0 * 300.0 * 32.0;
        assert!((number("flops_per_second") * number("median_step_seconds") / flops - 1.0).abs() < 1e-6);
        assert!(bench["kernels"]["gelu"]["seconds"].as_f64().unwrap() > 0.0);
    }
    place.run("bench step --dims 96 --device cpu").fails(2, "--dims takes two numbers");
    place.run("bench step --blocks 100000 --device cpu").fails(2, "--blocks 100000: must be at most");
    place.run("bench product --orders cc --device cpu").fails(2, "choose rc, rr or cr");
}

#[test]
fn a_bench_of_a_product_counts_its_operations() {
    let place = Place::new("");
    for (orders, precision) in [("rc", "f32"), ("rr", "bf16"), ("cr", "f32")] {
        let bench = place.json(&format!(
            "bench product --shape 65,33,17 --orders {orders} --precision {precision} --device cpu --rounds 3"
        ));
        let number = |key: &str| bench[key].as_f64().unwrap();
        let flops = number("flops_per_second") * number("median_seconds");
        assert!((flops / (2.0 * 65.0 * 33.0 * 17.0) - 1.0).abs() < 1e-6, "{bench}");
        assert_eq!((number("rounds"), bench["orders"].as_str()), (3.0, Some(orders)));
    }
    place.run("bench product --shape 4,4 --device cpu").fails(2, "--shape takes three numbers");
    place.run("bench product --orders rb --device cpu").fails(2, "choose rc, rr or cr");
}
