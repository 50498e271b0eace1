// The divergence between neighbourhoods in two spaces, in tiles: a workgroup a row.

struct Params { rows: u32, columns: u32, begin: u32, factor: f32 }

var<immediate> params: Params;

// without_own
@group(0) @binding(1) var<storage, read_write> cosines: array<f32>;

// divergence
@group(0) @binding(1) var<storage, read> first: array<f32>;
@group(0) @binding(2) var<storage, read> second: array<f32>;
@group(0) @binding(3) var<storage, read> log_tau: array<f32>;
@group(0) @binding(4) var<storage, read> first_sum: array<f32>;
@group(0) @binding(5) var<storage, read> second_sum: array<f32>;
@group(0) @binding(6) var<storage, read_write> of_second: array<f32>;
@group(0) @binding(7) var<storage, read_write> divergences: array<f32>;

// divergence_gradient
@group(0) @binding(2) var<storage, read> own_log_tau: array<f32>;
@group(0) @binding(3) var<storage, read> own_first_sum: array<f32>;
@group(0) @binding(4) var<storage, read> own_second_sum: array<f32>;
@group(0) @binding(5) var<storage, read> own_of_second: array<f32>;
@group(0) @binding(6) var<storage, read_write> tile: array<f32>;

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

// q ln (q / m)
fn term(p: f32, q: f32) -> f32 {
    return select(0.0, q * log(2.0 * q / max(p + q, 1.0e-38)), q > 0.0);
}

@compute @workgroup_size(64)
fn without_own(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + index;
    if i < params.rows {
        cosines[i * params.columns + i] = params.factor;
    }
}

@compute @workgroup_size(64)
fn divergence(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = exp(-log_tau[0]);
    var sums = vec2(0.0);
    for (var j = index; j < params.columns; j += 64u) {
        let p = exp(first[i * params.columns + j] * inverse - first_sum[i]);
        let q = exp(second[i * params.columns + j] * inverse - second_sum[i]);
        sums += vec2(term(q, p), term(p, q));
    }
    sums = total(sums, index);
    if asked < params.rows && index == 0u {
        of_second[i] = sums.y + select(of_second[i], 0.0, params.begin == 1u);
        divergences[i] = 0.5 * (sums.x + sums.y) + select(divergences[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn divergence_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = group.y * groups.x + group.x;
    let inverse = exp(-own_log_tau[0]);
    if i < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let at = i * params.columns + j;
            let p = exp(first[at] * inverse - own_first_sum[i]);
            let q = exp(tile[at] * inverse - own_second_sum[i]);
            tile[at] = 0.5 * params.factor * inverse * (term(p, q) - q * own_of_second[i]);
        }
    }
}
