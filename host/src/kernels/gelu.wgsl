// out = dropout(gelu(x + bias)), or with a gate, and their gradients, two values of a row a thread.

struct Params { rows: u32, width: u32, first: u32, threshold: u32, scale: f32, key: u32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;

// gelu
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// gelu_backward
@group(0) @binding(3) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(4) var<storage, read_write> again: array<f32>;

// glu_backward
@group(0) @binding(3) var<storage, read> to_out: array<f32>;
@group(0) @binding(4) var<storage, read_write> to_x: array<f32>;
@group(0) @binding(5) var<storage, read_write> out_again: array<f32>;

// True if all but bias are f16, in lines that begin at multiples of eight values.
override HALF: bool;

// Pairs of a line.
fn pairs(width: u32) -> u32 {
    return select((width + 1u) / 2u, half_line(width), HALF);
}

// The place of the value in `column` of a row: among values, or its pair among pairs.
fn place(row: u32, column: u32, width: u32) -> u32 {
    return select(row * width + column, row * pairs(width) + column / 2u, HALF);
}

fn hash(value: u32) -> u32 {
    var x = (value ^ (value >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

fn factor(row: u32, column: u32) -> f32 {
    let of_row = hash(hash(params.first + row) + params.key);
    let hash = hash((column * 0x9e3779b9u) ^ of_row);
    return select(0.0, params.scale, (hash >> 8u) >= params.threshold);
}

// Phi(x) and phi(x)
fn normal(x: f32) -> vec2<f32> {
    let z = abs(x) * 0.70710678;
    let t = 1.0 / (1.0 + 0.3275911 * z);
    let e = exp(-z * z);
    let poly = t * (0.2548296 + t * (-0.28449674 + t * (1.4214137 + t * (-1.453152 + t * 1.0614054))));
    let tail = 0.5 * poly * e;
    return vec2(select(1.0 - tail, tail, x < 0.0), e * 0.3989423);
}

// x + bias; nothing behind the end of a row.
fn biased(row: u32, column: u32, width: u32) -> f32 {
    if column >= width {
        return 0.0;
    }
    let at = place(row, column, width);
    if HALF {
        return unpack2x16float(bitcast<u32>(x[at]))[column % 2u] + bias[column];
    }
    return x[at] + bias[column];
}

// The row, and the column of the first of the two values, that a thread has of lines of `width`.
fn own(at: u32, width: u32) -> vec2<u32> {
    return vec2(at / pairs(width), 2u * (at % pairs(width)));
}

fn gelu_at(row: u32, column: u32) -> f32 {
    let value = biased(row, column, params.width);
    return value * normal(value).x * factor(row, column);
}

// The slope of gelu_at.
fn slope_at(row: u32, column: u32) -> f32 {
    let value = biased(row, column, params.width);
    let both = normal(value);
    return (both.x + value * both.y) * factor(row, column);
}

@compute @workgroup_size(256)
fn gelu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = own((group.y * groups.x + group.x) * 256u + index, params.width);
    if at.x >= params.rows {
        return;
    }
    let values = vec2(gelu_at(at.x, at.y), gelu_at(at.x, at.y + 1u));
    let to = place(at.x, at.y, params.width);
    if HALF {
        out[to] = bitcast<f32>(half_bits(values));
    } else {
        out[to] = values.x;
        if at.y + 1u < params.width {
            out[to + 1u] = values.y;
        }
    }
}

@compute @workgroup_size(256)
fn gelu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = own((group.y * groups.x + group.x) * 256u + index, params.width);
    if at.x >= params.rows {
        return;
    }
    let values = vec2(gelu_at(at.x, at.y), gelu_at(at.x, at.y + 1u));
    let slopes = vec2(slope_at(at.x, at.y), slope_at(at.x, at.y + 1u));
    let to = place(at.x, at.y, params.width);
    if HALF {
        again[to] = bitcast<f32>(half_bits(values));
        gradient[to] = bitcast<f32>(half_bits(slopes * unpack2x16float(bitcast<u32>(gradient[to]))));
    } else {
        again[to] = values.x;
        gradient[to] *= slopes.x;
        if at.y + 1u < params.width {
            again[to + 1u] = values.y;
            gradient[to + 1u] *= slopes.y;
        }
    }
}

// a and b, the halves of a row of x + bias.
fn halves_at(row: u32, column: u32) -> vec2<f32> {
    let width = 2u * params.width;
    return vec2(biased(row, column, width), biased(row, column + params.width, width));
}

fn glu_at(row: u32, column: u32) -> f32 {
    if column >= params.width {
        return 0.0;
    }
    let halves = halves_at(row, column);
    return halves.x * normal(halves.x).x * halves.y * factor(row, column);
}

@compute @workgroup_size(256)
fn glu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = own((group.y * groups.x + group.x) * 256u + index, params.width);
    if at.x >= params.rows {
        return;
    }
    let values = vec2(glu_at(at.x, at.y), glu_at(at.x, at.y + 1u));
    let to = place(at.x, at.y, params.width);
    if HALF {
        out[to] = bitcast<f32>(half_bits(values));
    } else {
        out[to] = values.x;
        if at.y + 1u < params.width {
            out[to + 1u] = values.y;
        }
    }
}

// The gradient to the value of x in `column`, of a or of b.
fn to_x_at(row: u32, column: u32) -> f32 {
    if column >= 2u * params.width {
        return 0.0;
    }
    let within = column % params.width;
    let halves = halves_at(row, within);
    let both = normal(halves.x);
    let at = place(row, within, params.width);
    var gradient: f32;
    if HALF {
        gradient = unpack2x16float(bitcast<u32>(to_out[at]))[within % 2u];
    } else {
        gradient = to_out[at];
    }
    let to_a = (both.x + halves.x * both.y) * halves.y;
    let to_b = halves.x * both.x;
    return gradient * select(to_a, to_b, column >= params.width) * factor(row, within);
}

// Over the pairs of x, which are more than those of the output.
@compute @workgroup_size(256)
fn glu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let width = 2u * params.width;
    let at = own((group.y * groups.x + group.x) * 256u + index, width);
    if at.x >= params.rows {
        return;
    }
    let gradients = vec2(to_x_at(at.x, at.y), to_x_at(at.x, at.y + 1u));
    let to = place(at.x, at.y, width);
    if HALF {
        to_x[to] = bitcast<f32>(half_bits(gradients));
    } else {
        to_x[to] = gradients.x;
        to_x[to + 1u] = gradients.y;
    }
    if at.y >= 2u * pairs(params.width) {
        return;
    }
    let values = vec2(glu_at(at.x, at.y), glu_at(at.x, at.y + 1u));
    let again_to = place(at.x, at.y, params.width);
    if HALF {
        out_again[again_to] = bitcast<f32>(half_bits(values));
    } else {
        if at.y < params.width {
            out_again[again_to] = values.x;
        }
        if at.y + 1u < params.width {
            out_again[again_to + 1u] = values.y;
        }
    }
}
