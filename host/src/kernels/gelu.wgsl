// out = dropout(gelu(x + bias)), or with a gate, and their gradients, a value a thread.

struct Params { rows: u32, width: u32, first: u32, threshold: u32, scale: f32, key: u32 }

@group(0) @binding(0) var<uniform> params: Params;
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

fn hash(value: u32) -> u32 {
    var x = (value ^ (value >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

fn factor(at: u32) -> f32 {
    let row = hash(hash(params.first + at / params.width) + params.key);
    let hash = hash(((at % params.width) * 0x9e3779b9u) ^ row);
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

@compute @workgroup_size(256)
fn gelu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        let value = x[at] + bias[at % params.width];
        out[at] = value * normal(value).x * factor(at);
    }
}

@compute @workgroup_size(256)
fn gelu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        let value = x[at] + bias[at % params.width];
        let both = normal(value);
        let kept = factor(at);
        again[at] = value * both.x * kept;
        gradient[at] *= (both.x + value * both.y) * kept;
    }
}

@compute @workgroup_size(256)
fn glu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        let column = at % params.width;
        let first = at + at - column;
        let a = x[first] + bias[column];
        let b = x[first + params.width] + bias[column + params.width];
        out[at] = a * normal(a).x * b * factor(at);
    }
}

@compute @workgroup_size(256)
fn glu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        let column = at % params.width;
        let first = at + at - column;
        let a = x[first] + bias[column];
        let b = x[first + params.width] + bias[column + params.width];
        let both = normal(a);
        let kept = factor(at);
        out_again[at] = a * both.x * b * kept;
        to_x[first] = to_out[at] * (both.x + a * both.y) * b * kept;
        to_x[first + params.width] = to_out[at] * a * both.x * kept;
    }
}
