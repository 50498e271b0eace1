// The pairwise sigmoid loss in tiles: gradients (a workgroup a row), and the loss.

// sigmoid_reduce has its count in `rows`, and its step in `columns`.
struct Params { rows: u32, columns: u32, begin: u32, pairs: u32, diagonal: u32, bias: f32 }

var<immediate> params: Params;

// sigmoid_gradient
@group(0) @binding(1) var<storage, read> log_tau: array<f32>;
@group(0) @binding(2) var<storage, read_write> tile: array<f32>;
@group(0) @binding(3) var<storage, read_write> slope: array<f32>;
@group(0) @binding(4) var<storage, read_write> loss: array<f32>;

// sigmoid_target_gradient
@group(0) @binding(2) var<storage, read> targets: array<f32>;
@group(0) @binding(3) var<storage, read_write> target_tile: array<f32>;
@group(0) @binding(4) var<storage, read_write> target_slope: array<f32>;
@group(0) @binding(5) var<storage, read_write> target_loss: array<f32>;

// sigmoid_reduce
@group(0) @binding(1) var<storage, read> all_losses: array<f32>;
@group(0) @binding(2) var<storage, read> all_slopes: array<f32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;
@group(0) @binding(4) var<storage, read_write> to_log_tau: array<f32>;

var<workgroup> parts: array<vec2<f32>, 64>;

// The sum of all threads' values, known to each.
fn total(value: vec2<f32>, index: u32) -> vec2<f32> {
    workgroupBarrier();
    parts[index] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] += parts[index + half];
        }
        workgroupBarrier();
    }
    return parts[0];
}

// log(1 + exp(v)), and its derivative.
fn softplus(v: f32) -> vec2<f32> {
    let e = exp(-abs(v));
    // Of a small e, log(1 + e) would lose all digits.
    let more = select(log(1.0 + e), e - 0.5 * e * e, e < 0.001);
    return vec2(max(v, 0.0) + more, select(e, 1.0, v > 0.0) / (1.0 + e));
}

@compute @workgroup_size(64)
fn sigmoid_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = exp(-log_tau[0]);
    let share = 1.0 / (f32(params.pairs) * f32(params.pairs));
    var sums = vec2(0.0);
    if asked < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let c = tile[i * params.columns + j];
            let z = select(-1.0, 1.0, params.diagonal == 1u && i == j);
            let v = -z * (c * inverse + params.bias);
            let both = softplus(v);
            let g = -z * both.y * share * inverse;
            tile[i * params.columns + j] = g;
            sums += vec2(-g * c, share * both.x);
        }
    }
    sums = total(sums, index);
    if asked < params.rows && index == 0u {
        slope[i] = sums.x + select(slope[i], 0.0, params.begin == 1u);
        loss[i] = sums.y + select(loss[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn sigmoid_target_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = exp(-log_tau[0]);
    let share = 1.0 / (f32(params.pairs) * f32(params.pairs));
    var sums = vec2(0.0);
    if asked < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let at = i * params.columns + j;
            let c = target_tile[at];
            let s = c * inverse + params.bias;
            let both = softplus(s);
            let g = (both.y - targets[at]) * share * inverse;
            target_tile[at] = g;
            sums += vec2(-g * c, share * (both.x - targets[at] * s));
        }
    }
    sums = total(sums, index);
    if asked < params.rows && index == 0u {
        target_slope[i] = sums.x + select(target_slope[i], 0.0, params.begin == 1u);
        target_loss[i] = sums.y + select(target_loss[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn sigmoid_reduce(@builtin(local_invocation_index) index: u32) {
    var sums = vec2(0.0);
    for (var i = index; i < params.rows; i += 64u) {
        sums += vec2(all_losses[i], all_slopes[i]);
    }
    sums = total(sums, index);
    if index == 0u {
        losses[params.columns] = sums.x;
        to_log_tau[0] = sums.y;
    }
}
