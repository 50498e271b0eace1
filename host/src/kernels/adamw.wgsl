// A step of AdamW, a value a thread.

struct Params {
    count: u32, length: f32, root: f32, kept: f32,
    beta_1: f32, beta_2: f32, epsilon: f32, low: f32, high: f32,
}

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read> factor: array<f32>;
@group(0) @binding(3) var<storage, read_write> value: array<f32>;
@group(0) @binding(4) var<storage, read_write> first: array<f32>;
@group(0) @binding(5) var<storage, read_write> second: array<f32>;

@compute @workgroup_size(256)
fn adamw(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    // A step whose gradients overflowed is not taken.
    if at >= params.count || factor[0] < 0.0 {
        return;
    }
    let g = gradient[at] * factor[0];
    let m = params.beta_1 * first[at] + (1.0 - params.beta_1) * g;
    let v = params.beta_2 * second[at] + (1.0 - params.beta_2) * g * g;
    first[at] = m;
    second[at] = v;
    let next = value[at] * params.kept - params.length * m / (sqrt(v) / params.root + params.epsilon);
    value[at] = clamp(next, params.low, params.high);
}
