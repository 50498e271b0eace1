// LayerNorm, a workgroup a row, also of a sum that it makes itself; its gradient to the input likewise; the gradients to gain and
// shift, 16 columns a workgroup, `LANES` threads each.

struct Params { rows: u32, width: u32, epsilon: f32, accumulate: u32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;

// layer_norm
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> shift: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;
@group(0) @binding(5) var<storage, read_write> moments: array<f32>;

// add_norm
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read> residual: array<f32>;
@group(0) @binding(3) var<storage, read> next_gain: array<f32>;
@group(0) @binding(4) var<storage, read> next_shift: array<f32>;
@group(0) @binding(5) var<storage, read_write> sum_of: array<f32>;
@group(0) @binding(6) var<storage, read_write> normed: array<f32>;
@group(0) @binding(7) var<storage, read_write> next_moments: array<f32>;

// standardize
@group(0) @binding(2) var<storage, read> known_moments: array<f32>;
@group(0) @binding(3) var<storage, read_write> standardized: array<f32>;

// layer_norm_backward, beside `gain`
@group(0) @binding(3) var<storage, read> row_moments: array<f32>;
@group(0) @binding(4) var<storage, read> gradient: array<f32>;
@group(0) @binding(5) var<storage, read_write> to_input: array<f32>;

// layer_norm_backward_halved, beside those
@group(0) @binding(6) var<storage, read_write> halved: array<f32>;

// layer_norm_gains
@group(0) @binding(2) var<storage, read> all_moments: array<f32>;
@group(0) @binding(3) var<storage, read> all_gradients: array<f32>;
@group(0) @binding(4) var<storage, read_write> to_gain: array<f32>;
@group(0) @binding(5) var<storage, read_write> to_shift: array<f32>;

// True if the normalised rows that are written are f16, in lines that begin at multiples of eight values.
override HALF: bool;

var<workgroup> parts: array<vec2<f32>, 64>;
// Threads that share a column.
override LANES: u32;

var<workgroup> lanes: array<vec2<f32>, 1024>;

// Pairs of a line.
fn pairs() -> u32 {
    return select((params.width + 1u) / 2u, half_line(params.width), HALF);
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

// Rows plus bias and residual, and their LayerNorm. A thread has pairs of values, which it reads again itself.
@compute @workgroup_size(64)
fn add_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * groups.x + group.x;
    let first = min(row, params.rows - 1u) * params.width;
    // None of a row that is not there.
    let end = select(0u, params.width, row < params.rows);
    var sum = 0.0;
    for (var i = 2u * index; i < end; i += 128u) {
        for (var j = i; j < min(i + 2u, end); j += 1u) {
            sum_of[first + j] += bias[j] + residual[first + j];
            sum += sum_of[first + j];
        }
    }
    let mean = total(vec2(sum, 0.0), index).x / f32(params.width);
    var squares = 0.0;
    for (var i = 2u * index; i < end; i += 128u) {
        for (var j = i; j < min(i + 2u, end); j += 1u) {
            squares += (sum_of[first + j] - mean) * (sum_of[first + j] - mean);
        }
    }
    let inverse = 1.0 / sqrt(total(vec2(squares, 0.0), index).x / f32(params.width) + params.epsilon);
    if row >= params.rows {
        return;
    }
    if index == 0u {
        next_moments[2u * row] = mean;
        next_moments[2u * row + 1u] = inverse;
    }
    for (var pair = index; pair < pairs(); pair += 64u) {
        var values = vec2(0.0);
        for (var second = 0u; second < 2u; second += 1u) {
            let i = 2u * pair + second;
            if i < end {
                values[second] = (sum_of[first + i] - mean) * inverse * next_gain[i] + next_shift[i];
            }
        }
        if HALF {
            normed[row * pairs() + pair] = bitcast<f32>(half_bits(values));
        } else {
            normed[first + 2u * pair] = values.x;
            if 2u * pair + 1u < end {
                normed[first + 2u * pair + 1u] = values.y;
            }
        }
    }
}

// The gradient to the input of a row that is there, value i of it.
fn to_input_of(row: u32, i: u32, sums: vec2<f32>) -> f32 {
    let at = row * params.width + i;
    let inverse = row_moments[2u * row + 1u];
    let standardized = (x[at] - row_moments[2u * row]) * inverse;
    let d = inverse * (gradient[at] * gain[i] - sums.x - standardized * sums.y);
    return d + select(0.0, to_input[at], params.accumulate == 1u);
}

// The means over a row of its gradients, and of those times its standardized values.
fn sums_of(row: u32, index: u32) -> vec2<f32> {
    let first = row * params.width;
    let mean = row_moments[2u * row];
    let inverse = row_moments[2u * row + 1u];
    var sums = vec2(0.0);
    for (var i = index; i < params.width; i += 64u) {
        let g = gradient[first + i] * gain[i];
        sums += vec2(g, g * (x[first + i] - mean) * inverse);
    }
    return total(sums, index) / f32(params.width);
}

@compute @workgroup_size(64)
fn layer_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * groups.x + group.x;
    let sums = sums_of(min(row, params.rows - 1u), index);
    if row < params.rows {
        for (var i = index; i < params.width; i += 64u) {
            to_input[row * params.width + i] = to_input_of(row, i, sums);
        }
    }
}

// The same, and the result in f16 too.
@compute @workgroup_size(64)
fn layer_norm_backward_halved(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let row = group.y * groups.x + group.x;
    let sums = sums_of(min(row, params.rows - 1u), index);
    if row >= params.rows {
        return;
    }
    let line = half_line(params.width);
    for (var pair = index; pair < line; pair += 64u) {
        var values = vec2(0.0);
        for (var second = 0u; second < 2u; second += 1u) {
            let i = 2u * pair + second;
            if i < params.width {
                values[second] = to_input_of(row, i, sums);
                to_input[row * params.width + i] = values[second];
            }
        }
        halved[row * line + pair] = bitcast<f32>(half_bits(values));
    }
}

@compute @workgroup_size(16u * LANES)
fn layer_norm_gains(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = (group.y * groups.x + group.x) * 16u + index % 16u;
    let column = min(asked, params.width - 1u);
    var sums = vec2(0.0);
    for (var row = index / 16u; row < params.rows; row += LANES) {
        let g = all_gradients[row * params.width + column];
        sums += vec2(g * (x[row * params.width + column] - all_moments[2u * row]) * all_moments[2u * row + 1u], g);
    }
    lanes[index] = sums;
    workgroupBarrier();
    for (var half = 8u * LANES; half >= 16u; half /= 2u) {
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
