// The scale of gradients in f16, and the factors that undo it and clip, by one workgroup.

struct Params { count: u32, longest: f32, scaled: u32, low: f32, high: f32, steps: f32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> state: array<f32>;
@group(0) @binding(3) var<storage, read_write> scaled_factor: array<f32>;
@group(0) @binding(4) var<storage, read_write> unscaled_factor: array<f32>;

@compute @workgroup_size(256)
fn loss_scale(@builtin(local_invocation_index) index: u32) {
    var squares = 0.0;
    for (var at = index; at < params.scaled; at += 256u) {
        squares += parts[at];
    }
    squares = total(squares, index);
    workgroupBarrier();
    var others = 0.0;
    for (var at = params.scaled + index; at < params.count; at += 256u) {
        others += parts[at];
    }
    others = total(others, index);
    if index > 0u {
        return;
    }
    let scale = state[0];
    // Neither NaN nor infinite, which a compiler may not assume of bits.
    let exponents = bitcast<vec2<u32>>(vec2(squares, others)) & vec2(0x7f800000u);
    let finite = all(exponents != vec2(0x7f800000u));
    if !finite {
        scaled_factor[0] = -1.0;
        unscaled_factor[0] = -1.0;
        state[0] = max(scale / 2.0, params.low);
        state[1] = 0.0;
        state[2] += 1.0;
        return;
    }
    let long = sqrt(squares) / scale;
    let kept = min(params.longest / (sqrt(long * long + others) + 1e-6), 1.0);
    unscaled_factor[0] = kept;
    scaled_factor[0] = kept / scale;
    let grown = state[1] + 1.0 >= params.steps;
    state[0] = select(scale, min(2.0 * scale, params.high), grown);
    state[1] = select(state[1] + 1.0, 0.0, grown);
    state[2] = 0.0;
}
