// LayerNorm, a workgroup a row; its gradient to the input likewise; the gradients to gain and
// shift, 16 columns a workgroup, 16 threads each.

struct Params { rows: u32, width: u32, epsilon: f32, accumulate: u32 }

var<immediate> params: Params;
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

// True if the rows that layer_norm and standardize write are f16, in lines that begin at multiples of eight values.
override HALF: bool;

var<workgroup> parts: array<vec2<f32>, 64>;
var<workgroup> lanes: array<vec2<f32>, 256>;

// Pairs of a line.
fn pairs() -> u32 {
    return select((params.width + 1u) / 2u, (params.width + 7u) / 8u * 4u, HALF);
}

// The value in `column` of the row at `first`, less its mean and over its deviation; nothing behind its end.
fn standard(first: u32, column: u32, mean: f32, inverse: f32) -> f32 {
    if column >= params.width {
        return 0.0;
    }
    return (x[first + column] - mean) * inverse;
}

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
    if !HALF {
        for (var i = index; i < params.width; i += 64u) {
            out[first + i] = standard(first, i, mean, inverse) * gain[i] + shift[i];
        }
        return;
    }
    for (var pair = index; pair < pairs(); pair += 64u) {
        let i = vec2(2u * pair, 2u * pair + 1u);
        let values = vec2(standard(first, i.x, mean, inverse), standard(first, i.y, mean, inverse));
        let last = min(i, vec2(params.width - 1u));
        let scaled = values * vec2(gain[last.x], gain[last.y]) + vec2(shift[last.x], shift[last.y]);
        out[row * pairs() + pair] = bitcast<f32>(half_bits(select(vec2(0.0), scaled, i < vec2(params.width))));
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

@compute @workgroup_size(256)
fn layer_norm_gains(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = (group.y * groups.x + group.x) * 16u + index % 16u;
    let column = min(asked, params.width - 1u);
    var sums = vec2(0.0);
    for (var row = index / 16u; row < params.rows; row += 16u) {
        let g = all_gradients[row * params.width + column];
        sums += vec2(g * (x[row * params.width + column] - all_moments[2u * row]) * all_moments[2u * row + 1u], g);
    }
    lanes[index] = sums;
    workgroupBarrier();
    for (var half = 128u; half >= 16u; half /= 2u) {
        if index < half {
            lanes[index] += lanes[index + half];
        }
        workgroupBarrier();
    }
    if asked < params.width && index < 16u {
        let add = params.accumulate == 1u;
        to_gain[column] = lanes[index].x + select(0.0, to_gain[column], add);
        to_shift[column] = lanes[index].y + select(0.0, to_shift[column], add);
    }
}

@compute @workgroup_size(64)
fn standardize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 64u + index;
    let row = at / pairs();
    if row >= params.rows {
        return;
    }
    let mean = known_moments[2u * row];
    let inverse = known_moments[2u * row + 1u];
    let first = row * params.width;
    let column = 2u * (at % pairs());
    let values = vec2(standard(first, column, mean, inverse), standard(first, column + 1u, mean, inverse));
    if HALF {
        standardized[at] = bitcast<f32>(half_bits(values));
        return;
    }
    standardized[first + column] = values.x;
    if column + 1u < params.width {
        standardized[first + column + 1u] = values.y;
    }
}
