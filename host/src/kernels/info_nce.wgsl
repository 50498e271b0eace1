// Symmetric InfoNCE in tiles: sums of rows (a workgroup a row), of columns (16 columns a workgroup, `LANES` threads each),
// gradients, the loss.

// log_sums and reduce have their counts in `rows`, reduce its step in `columns`.
struct Params { rows: u32, columns: u32, begin: u32, pairs: u32, diagonal: u32, scale: f32 }

var<immediate> params: Params;

// row_sums, column_sums and diagonal
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read> log_tau: array<f32>;
@group(0) @binding(3) var<storage, read_write> most: array<f32>;
@group(0) @binding(4) var<storage, read_write> sum: array<f32>;
@group(0) @binding(3) var<storage, read_write> own: array<f32>;

// log_sums
@group(0) @binding(1) var<storage, read> all_sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> all_most: array<f32>;

// gradient
@group(0) @binding(1) var<storage, read> own_log_tau: array<f32>;
@group(0) @binding(2) var<storage, read> row: array<f32>;
@group(0) @binding(3) var<storage, read> column: array<f32>;
@group(0) @binding(4) var<storage, read_write> tile: array<f32>;
@group(0) @binding(5) var<storage, read_write> slope: array<f32>;

// half_gradient
@group(0) @binding(4) var<storage, read> cosine_tile: array<f32>;
@group(0) @binding(5) var<storage, read_write> half_tile: array<u32>;
@group(0) @binding(6) var<storage, read_write> half_slope: array<f32>;

// target_gradient
@group(0) @binding(4) var<storage, read> targets: array<f32>;
@group(0) @binding(5) var<storage, read_write> target_tile: array<f32>;
@group(0) @binding(6) var<storage, read_write> target_slope: array<f32>;
@group(0) @binding(7) var<storage, read_write> target_own: array<f32>;

// reduce
@group(0) @binding(1) var<storage, read> all_rows: array<f32>;
@group(0) @binding(2) var<storage, read> all_columns: array<f32>;
@group(0) @binding(3) var<storage, read> all_own: array<f32>;
@group(0) @binding(4) var<storage, read> all_slopes: array<f32>;
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;
@group(0) @binding(6) var<storage, read_write> to_log_tau: array<f32>;

const LEAST = -3.0e38;

var<workgroup> parts: array<vec2<f32>, 64>;
// Threads that share a column.
override LANES: u32;

var<workgroup> lanes: array<f32, 1024>;

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
    var old = LEAST;
    var before = 0.0;
    if params.begin == 0u {
        old = most[at];
        before = sum[at];
    }
    var new_most = old;
    for (var j = index; j < params.columns; j += 64u) {
        new_most = max(new_most, cosines[at * params.columns + j] * inverse);
    }
    new_most = largest(new_most, index);
    var added = 0.0;
    for (var j = index; j < params.columns; j += 64u) {
        added += exp(cosines[at * params.columns + j] * inverse - new_most);
    }
    added = total(vec2(added, 0.0), index).x;
    if asked < params.rows && index == 0u {
        most[at] = new_most;
        sum[at] = before * exp(old - new_most) + added;
    }
}

@compute @workgroup_size(16u * LANES)
fn column_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = (group.y * groups.x + group.x) * 16u + index % 16u;
    let j = min(asked, params.columns - 1u);
    let first = index / 16u;
    let inverse = exp(-log_tau[0]);
    var new_most = LEAST;
    for (var i = first; i < params.rows; i += LANES) {
        new_most = max(new_most, cosines[i * params.columns + j] * inverse);
    }
    lanes[index] = new_most;
    workgroupBarrier();
    for (var half = 8u * LANES; half >= 16u; half /= 2u) {
        if index < half {
            lanes[index] = max(lanes[index], lanes[index + half]);
        }
        workgroupBarrier();
    }
    var old = LEAST;
    var before = 0.0;
    if params.begin == 0u {
        old = most[j];
        before = sum[j];
    }
    new_most = max(old, lanes[index % 16u]);
    workgroupBarrier();
    var added = 0.0;
    for (var i = first; i < params.rows; i += LANES) {
        added += exp(cosines[i * params.columns + j] * inverse - new_most);
    }
    lanes[index] = added;
    workgroupBarrier();
    for (var half = 8u * LANES; half >= 16u; half /= 2u) {
        if index < half {
            lanes[index] += lanes[index + half];
        }
        workgroupBarrier();
    }
    if asked < params.columns && index < 16u {
        most[j] = new_most;
        sum[j] = before * exp(old - new_most) + lanes[index];
    }
}

@compute @workgroup_size(64)
fn diagonal(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + index;
    if i < params.rows {
        own[i] = cosines[i * params.columns + i] * exp(-log_tau[0]);
    }
}

@compute @workgroup_size(64)
fn log_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + index;
    if i < params.rows {
        all_most[i] += log(all_sums[i]);
    }
}

@compute @workgroup_size(64)
fn gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = exp(-own_log_tau[0]);
    let share = inverse / (2.0 * f32(params.pairs));
    var part = 0.0;
    if asked < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let c = tile[i * params.columns + j];
            var g = exp(c * inverse - row[i]) + exp(c * inverse - column[j]);
            g = share * (g - select(0.0, 2.0, params.diagonal == 1u && i == j));
            tile[i * params.columns + j] = g;
            part -= g * c;
        }
    }
    part = total(vec2(part, 0.0), index).x;
    if asked < params.rows && index == 0u {
        slope[i] = part + select(slope[i], 0.0, params.begin == 1u);
    }
}

// The gradient to the cosine in column j of row i, which is no pair's.
fn slope_of(c: f32, i: u32, j: u32) -> f32 {
    let inverse = exp(-own_log_tau[0]);
    let g = exp(c * inverse - row[i]) + exp(c * inverse - column[j]);
    return inverse / (2.0 * f32(params.pairs)) * (g - select(0.0, 2.0, params.diagonal == 1u && i == j));
}

// gradient, with the tile of gradients in f16, in lines that begin at multiples of eight values.
@compute @workgroup_size(64)
fn half_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let line = half_line(params.columns);
    var part = 0.0;
    if asked < params.rows {
        for (var pair = index; pair < line; pair += 64u) {
            var slopes = vec2(0.0);
            for (var second = 0u; second < 2u; second += 1u) {
                let j = 2u * pair + second;
                if j < params.columns {
                    let c = cosine_tile[i * params.columns + j];
                    slopes[second] = slope_of(c, i, j);
                    part -= slopes[second] * c;
                }
            }
            half_tile[i * line + pair] = half_bits(params.scale * slopes);
        }
    }
    part = total(vec2(part, 0.0), index).x;
    if asked < params.rows && index == 0u {
        half_slope[i] = part + select(half_slope[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn target_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = exp(-own_log_tau[0]);
    let share = inverse / (2.0 * f32(params.pairs));
    var sums = vec2(0.0);
    if asked < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let at = i * params.columns + j;
            let c = target_tile[at];
            let wanted = targets[at];
            let g = share * (exp(c * inverse - row[i]) + exp(c * inverse - column[j]) - wanted);
            target_tile[at] = g;
            sums += vec2(-g * c, wanted * c);
        }
    }
    sums = total(sums, index);
    if asked < params.rows && index == 0u {
        target_slope[i] = sums.x + select(target_slope[i], 0.0, params.begin == 1u);
        target_own[i] = 0.5 * inverse * sums.y + select(target_own[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn reduce(@builtin(local_invocation_index) index: u32) {
    var sums = vec2(0.0);
    for (var i = index; i < params.rows; i += 64u) {
        sums += vec2(all_rows[i] + all_columns[i] - 2.0 * all_own[i], all_slopes[i]);
    }
    sums = total(sums, index);
    if index == 0u {
        losses[params.columns] = sums.x / (2.0 * f32(params.rows));
        to_log_tau[0] = sums.y;
    }
}
