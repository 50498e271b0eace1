// LayerNorm, a workgroup a row; its gradient to the input likewise; the gradients to gain and shift, a thread a column.

struct Params { rows: u32, width: u32, epsilon: f32, accumulate: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;

// layer_norm
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> shift: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> moments: array<f32>;

// standardize
@group(0) @binding(2) var<storage, read> known_moments: array<f32>;
@group(0) @binding(3) var<storage, read_write> standardized: array<f32>;

// layer_norm_backward, beside `gain`
@group(0) @binding(3) var<storage, read> row_moments: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> to_input: array<f32>;

// layer_norm_gains
@group(0) @binding(2) var<storage, read> all_moments: array<f32>;
@group(0) @binding(3) var<storage, read> all_gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> to_gain: array<f32>;
@group(0) @binding(5) var<storage, read_write> to_shift: array<f32>;

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

@compute @workgroup_size(64)
fn layer_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * groups.x + group.x;
    let first = min(row, params.rows - 1u) * params.width;
    let width = f32(params.width);
    var sum = 0.0;
    for (var i = index; i < params.width; i += 64u) {
        sum += x[first + i];
    }
    let mean = total(vec2(sum, 0.0), index).x / width;
    var squares = 0.0;
    for (var i = index; i < params.width; i += 64u) {
        squares += (x[first + i] - mean) * (x[first + i] - mean);
    }
    let inverse = 1.0 / sqrt(total(vec2(squares, 0.0), index).x / width + params.epsilon);
    if row >= params.rows {
        return;
    }
    if index == 0u {
        moments[2u * row] = mean;
        moments[2u * row + 1u] = inverse;
    }
    for (var i = index; i < params.width; i += 64u) {
        out[first + i] = (x[first + i] - mean) * inverse * gain[i] + shift[i];
    }
}

@compute @workgroup_size(64)
fn layer_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let row = min(asked, params.rows - 1u);
    let first = row * params.width;
    let mean = row_moments[2u * row];
    let inverse = row_moments[2u * row + 1u];
    var sums = vec2(0.0);
    for (var i = index; i < params.width; i += 64u) {
        let g = gradient[first + i] * gain[i];
        sums += vec2(g, g * (x[first + i] - mean) * inverse);
    }
    sums = total(sums, index) / f32(params.width);
    if asked >= params.rows {
        return;
    }
    for (var i = index; i < params.width; i += 64u) {
        let d = inverse * (gradient[first + i] * gain[i] - sums.x - (x[first + i] - mean) * inverse * sums.y);
        to_input[first + i] = d + select(0.0, to_input[first + i], params.accumulate == 1u);
    }
}

@compute @workgroup_size(64)
fn layer_norm_gains(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let column = (group.y * groups.x + group.x) * 64u + index;
    if column >= params.width {
        return;
    }
    var sums = vec2(0.0);
    for (var row = 0u; row < params.rows; row += 1u) {
        let g = all_gradients[row * params.width + column];
        sums += vec2(g * (x[row * params.width + column] - all_moments[2u * row]) * all_moments[2u * row + 1u], g);
    }
    let add = params.accumulate == 1u;
    to_gain[column] = sums.x + select(0.0, to_gain[column], add);
    to_shift[column] = sums.y + select(0.0, to_shift[column], add);
}

@compute @workgroup_size(64)
fn standardize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + index;
    let row = at / params.width;
    if row < params.rows {
        standardized[at] = (x[at] - known_moments[2u * row]) * known_moments[2u * row + 1u];
    }
}
