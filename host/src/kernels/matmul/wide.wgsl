// The matrices of matmul.wgsl where all lines begin at multiples of four values: four at a time, all within or all behind
// the end.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

// Four values from `at` on, of which `count` are within, and zeros behind them.
fn a_four(at: u32, count: u32) -> vec4<f32> {
    return select(vec4(0.0), a[select(0u, at / 4u, count > 0u)], count > 0u);
}

fn b_four(at: u32, count: u32) -> vec4<f32> {
    return select(vec4(0.0), b[select(0u, at / 4u, count > 0u)], count > 0u);
}

fn out_four(at: u32, count: u32, values: vec4<f32>) {
    if count > 0u {
        if params.accumulate == 1u {
            out[at / 4u] += values;
        } else {
            out[at / 4u] = values;
        }
    }
}
