// The matrices of matmul.wgsl where lines begin anywhere: a value at a time.

@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

fn a_one(at: u32, within: bool) -> f32 {
    return select(0.0, a[select(0u, at, within)], within);
}

fn b_one(at: u32, within: bool) -> f32 {
    return select(0.0, b[select(0u, at, within)], within);
}

// Four values from `at` on, of which `count` are within, and zeros behind them.
fn a_four(at: u32, count: u32) -> vec4<f32> {
    return vec4(
        a_one(at, count > 0u), a_one(at + 1u, count > 1u), a_one(at + 2u, count > 2u), a_one(at + 3u, count > 3u),
    );
}

fn b_four(at: u32, count: u32) -> vec4<f32> {
    return vec4(
        b_one(at, count > 0u), b_one(at + 1u, count > 1u), b_one(at + 2u, count > 2u), b_one(at + 3u, count > 3u),
    );
}

fn out_one(at: u32, within: bool, value: f32) {
    if within {
        out[at] = value + select(0.0, out[at], params.accumulate == 1u);
    }
}

fn out_four(at: u32, count: u32, values: vec4<f32>) {
    out_one(at, count > 0u, values.x);
    out_one(at + 1u, count > 1u, values.y);
    out_one(at + 2u, count > 2u, values.z);
    out_one(at + 3u, count > 3u, values.w);
}
