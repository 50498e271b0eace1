//! Each WGSL file without a GPU: valid for naga with the features that it asks for, and compiled to SPIR-V.

use naga::back::{pipeline_constants::process_overrides, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use std::path::{Path, PathBuf};

use super::*;

/// A shader as it is given to a GPU.
struct Compiled {
    source: String,
    entry: String,
    constants: Vec<(&'static str, f64)>,
}

/// The products in the variants that GPUs get.
fn products() -> Vec<Compiled> {
    let gpu = |fragment, f16| Gpu { fragment, f16, subgroups: Some([32, 32]), workgroup: 1 << 15, ..Gpu::default() };
    let software = Gpu { software: true, subgroups: Some([8, 8]), f16: true, ..Gpu::default() };
    let gpus = [Gpu::default(), gpu(None, true), gpu(Some(16), true), gpu(Some(8), true), software];
    let formats = [[Format::F32; 2], [Format::F16, Format::F32], [Format::F16; 2]];
    let orders = [(Order::Rows, Order::Columns), (Order::Rows, Order::Rows), (Order::Columns, Order::Rows)];
    let mut all = Vec::new();
    for (gpu, formats) in gpus.iter().flat_map(|gpu| formats.map(|formats| (gpu, formats))) {
        for ((a, b), side) in orders.into_iter().flat_map(|orders| [63, 64, 4095, 4096].map(|side| (orders, side))) {
            let product = Matmul { formats, ..Matmul::new([side; 3], [a, b], Precision::Bf16) };
            let Shader { source, entry, constants, .. } = product.shader(gpu);
            all.push(Compiled { source: source.to_owned(), entry: entry.to_owned(), constants });
        }
    }
    all
}

/// Each kernel of each other WGSL file.
fn others() -> Vec<Compiled> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels");
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    // Parts that several files share, and what of them those call.
    let parts = [("half_", read(&folder.join("half.wgsl"))), ("= total(", read(&folder.join("total.wgsl")))];
    let mut all = Vec::new();
    for path in &wgsl_files(&folder) {
        let mut source = read(path);
        if !source.contains("@compute") {
            continue;
        }
        let own_total = source.contains("fn total(");
        for (call, part) in parts.iter().filter(|(call, _)| *call != "= total(" || !own_total) {
            if source.contains(call) {
                source.push_str(part);
            }
        }
        let module = naga::front::wgsl::parse_str(&source);
        let module = module.unwrap_or_else(|error| panic!("{}: {}", path.display(), error.emit_to_string(&source)));
        for (entry, half) in module.entry_points.iter().flat_map(|entry| [(entry, 0.0), (entry, 1.0)]) {
            let values = [("override HALF", "HALF", half), ("override LANES", "LANES", 16.0)];
            let values = values.into_iter().filter(|(declared, ..)| source.contains(declared));
            let constants = values.map(|(_, name, value)| (name, value)).collect();
            all.push(Compiled { source: source.clone(), entry: entry.name.clone(), constants });
        }
    }
    assert!(all.len() > 30, "{} kernels", all.len());
    all
}

fn wgsl_files(folder: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == "wgsl")).collect()
}

fn capabilities() -> Capabilities {
    Capabilities::IMMEDIATES
        | Capabilities::SHADER_FLOAT16
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX
        | Capabilities::SHADER_FLOAT16_IN_FLOAT32
}

/// The module and what is known of it, with constants in place.
fn module(shader: &Compiled) -> (naga::Module, ModuleInfo) {
    let fail = |error: String| -> ! { panic!("{}: {error}", shader.entry) };
    let parsed = naga::front::wgsl::parse_str(&shader.source);
    let module = parsed.unwrap_or_else(|error| fail(error.emit_to_string(&shader.source)));
    let mut validator = Validator::new(ValidationFlags::all(), capabilities());
    let validated = validator.validate(&module);
    let info = validated.unwrap_or_else(|error| fail(error.emit_to_string(&shader.source)));
    let constants = shader.constants.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
    let entry = (naga::ShaderStage::Compute, &*shader.entry);
    let processed = process_overrides(&module, &info, Some(entry), &constants);
    let (module, info) = processed.unwrap_or_else(|error| fail(error.to_string()));
    (module.into_owned(), info.into_owned())
}

#[test]
fn every_shader_is_valid_and_becomes_spirv() {
    for shader in products().into_iter().chain(others()) {
        let (module, info) = module(&shader);
        let options = spv::Options { lang_version: (1, 3), ..spv::Options::default() };
        let (shader_stage, entry_point) = (naga::ShaderStage::Compute, shader.entry.clone());
        let pipeline = spv::PipelineOptions { shader_stage, entry_point };
        let words = spv::write_vec(&module, &info, &options, Some(&pipeline));
        let words = words.unwrap_or_else(|error| panic!("{}: {error}", shader.entry));
        assert_eq!(words[0], 0x0723_0203, "{}: no SPIR-V", shader.entry);
    }
}

#[test]
fn every_file_of_products_is_part_of_one() {
    let products = products();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/kernels/matmul");
    for path in wgsl_files(&folder).iter().filter(|path| !path.ends_with("stand_in.wgsl")) {
        let text = std::fs::read_to_string(path).unwrap();
        assert!(products.iter().any(|product| product.source.contains(&text)), "{}", path.display());
    }
}
