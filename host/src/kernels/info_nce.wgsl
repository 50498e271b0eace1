// Symmetric InfoNCE in tiles of rows: sums of rows (a workgroup a row), of columns (a thread a column), gradients, the loss.

struct Params { first: u32, rows: u32, pairs: u32 }

@group(0) @binding(0) var<uniform> params: Params;

// row_sums and column_sums
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read> log_tau: array<f32>;
@group(0) @binding(3) var<storage, read_write> row_sum: array<f32>;
@group(0) @binding(4) var<storage, read_write> own_logit: array<f32>;
@group(0) @binding(3) var<storage, read_write> most_so_far: array<f32>;
@group(0) @binding(4) var<storage, read_write> sum_so_far: array<f32>;

// gradient
@group(0) @binding(1) var<storage, read> own_log_tau: array<f32>;
@group(0) @binding(2) var<storage, read> row: array<f32>;
@group(0) @binding(3) var<storage, read> most: array<f32>;
@group(0) @binding(4) var<storage, read> sum: array<f32>;
@group(0) @binding(5) var<storage, read_write> tile: array<f32>;
@group(0) @binding(6) var<storage, read_write> slope: array<f32>;

// reduce
@group(0) @binding(1) var<storage, read> all_rows: array<f32>;
@group(0) @binding(2) var<storage, read> all_most: array<f32>;
@group(0) @binding(3) var<storage, read> all_sums: array<f32>;
@group(0) @binding(4) var<storage, read> all_own: array<f32>;
@group(0) @binding(5) var<storage, read> all_slopes: array<f32>;
@group(0) @binding(6) var<storage, read_write> losses: array<f32>;
@group(0) @binding(7) var<storage, read_write> to_log_tau: array<f32>;

const LEAST = -3.0e38;

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

// The largest of all threads' values, known to each.
fn largest(value: f32, index: u32) -> f32 {
    workgroupBarrier();
    parts[index] = vec2(value);
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] = max(parts[index], parts[index + half]);
        }
        workgroupBarrier();
    }
    return parts[0].x;
}

@compute @workgroup_size(64)
fn row_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let at = min(asked, params.rows - 1u);
    let inverse = exp(-log_tau[0]);
    var most = LEAST;
    for (var j = index; j < params.pairs; j += 64u) {
        most = max(most, cosines[at * params.pairs + j] * inverse);
    }
    most = largest(most, index);
    var sum = 0.0;
    for (var j = index; j < params.pairs; j += 64u) {
        sum += exp(cosines[at * params.pairs + j] * inverse - most);
    }
    sum = total(vec2(sum, 0.0), index).x;
    if asked < params.rows && index == 0u {
        let i = params.first + at;
        row_sum[i] = most + log(sum);
        own_logit[i] = cosines[at * params.pairs + i] * inverse;
    }
}

@compute @workgroup_size(64)
fn column_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let j = (group.y * groups.x + group.x) * 64u + index;
    if j >= params.pairs {
        return;
    }
    let inverse = exp(-log_tau[0]);
    var old = LEAST;
    var sum = 0.0;
    if params.first > 0u {
        old = most_so_far[j];
        sum = sum_so_far[j];
    }
    var most = old;
    for (var i = 0u; i < params.rows; i += 1u) {
        most = max(most, cosines[i * params.pairs + j] * inverse);
    }
    sum *= exp(old - most);
    for (var i = 0u; i < params.rows; i += 1u) {
        sum += exp(cosines[i * params.pairs + j] * inverse - most);
    }
    most_so_far[j] = most;
    sum_so_far[j] = sum;
}

@compute @workgroup_size(64)
fn gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let at = min(asked, params.rows - 1u);
    let i = params.first + at;
    let inverse = exp(-own_log_tau[0]);
    let share = inverse / (2.0 * f32(params.pairs));
    var part = 0.0;
    if asked < params.rows {
        for (var j = index; j < params.pairs; j += 64u) {
            let c = tile[at * params.pairs + j];
            var g = exp(c * inverse - row[i]) + exp(c * inverse - most[j] - log(sum[j]));
            g = share * (g - select(0.0, 2.0, i == j));
            tile[at * params.pairs + j] = g;
            part -= g * c;
        }
    }
    part = total(vec2(part, 0.0), index).x;
    if asked < params.rows && index == 0u {
        slope[i] = part;
    }
}

@compute @workgroup_size(64)
fn reduce(@builtin(local_invocation_index) index: u32) {
    var sums = vec2(0.0);
    for (var i = index; i < params.pairs; i += 64u) {
        sums += vec2(all_rows[i] + all_most[i] + log(all_sums[i]) - 2.0 * all_own[i], all_slopes[i]);
    }
    sums = total(sums, index);
    if index == 0u {
        losses[params.first] = sums.x / (2.0 * f32(params.pairs));
        to_log_tau[0] = sums.y;
    }
}
