// out = dropout(x Phi(x)) and its gradient, a value a thread.

struct Params { count: u32, threshold: u32, scale: f32, key: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

fn hash(value: u32) -> u32 {
    var x = (value ^ (value >> 16u)) * 0x7feb352du;
    x = (x ^ (x >> 15u)) * 0x846ca68bu;
    return x ^ (x >> 16u);
}

fn factor(at: u32) -> f32 {
    return select(0.0, params.scale, (hash(hash(at) + params.key) >> 8u) >= params.threshold);
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
    if at < params.count {
        out[at] = x[at] * normal(x[at]).x * factor(at);
    }
}

@compute @workgroup_size(256)
fn gelu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.count {
        let both = normal(x[at]);
        out[at] *= (both.x + x[at] * both.y) * factor(at);
    }
}
