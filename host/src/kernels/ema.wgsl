// average = decay average + (1 - decay) value, a value a thread.

struct Params { count: u32, decay: f32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> value: array<f32>;
@group(0) @binding(2) var<storage, read_write> average: array<f32>;

@compute @workgroup_size(256)
fn ema(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.count {
        average[at] = params.decay * average[at] + (1.0 - params.decay) * value[at];
    }
}
