// Rows brought to length 1, and the gradient through it; a workgroup a row.

struct Params { rows: u32, width: u32, shortest: f32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;

// l2_normalize
@group(0) @binding(2) var<storage, read_write> out: array<f32>;
@group(0) @binding(3) var<storage, read_write> inverse: array<f32>;

// l2_normalize_backward
@group(0) @binding(2) var<storage, read> row_inverse: array<f32>;
@group(0) @binding(3) var<storage, read> scale: array<f32>;
@group(0) @binding(4) var<storage, read_write> gradient: array<f32>;

var<workgroup> parts: array<f32, 64>;

// The sum of all threads' values, known to each.
fn total(value: f32, index: u32) -> f32 {
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
fn l2_normalize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * groups.x + group.x;
    let first = min(row, params.rows - 1u) * params.width;
    var squares = 0.0;
    for (var i = index; i < params.width; i += 64u) {
        squares += x[first + i] * x[first + i];
    }
    let factor = 1.0 / max(sqrt(total(squares, index)), params.shortest);
    if row >= params.rows {
        return;
    }
    if index == 0u {
        inverse[row] = factor;
    }
    for (var i = index; i < params.width; i += 64u) {
        out[first + i] = x[first + i] * factor;
    }
}

@compute @workgroup_size(64)
fn l2_normalize_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * groups.x + group.x;
    let first = min(row, params.rows - 1u) * params.width;
    var product = 0.0;
    for (var i = index; i < params.width; i += 64u) {
        product += gradient[first + i] * x[first + i];
    }
    let along = total(product, index);
    let factor = row_inverse[min(row, params.rows - 1u)] * scale[0];
    if row >= params.rows {
        return;
    }
    for (var i = index; i < params.width; i += 64u) {
        gradient[first + i] = (gradient[first + i] - along * x[first + i]) * factor;
    }
}
