// out = x - sums / rows, a value a thread.

struct Params { rows: u32, width: u32, accumulate: u32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read> sums: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn centred(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        let before = select(0.0, out[at], params.accumulate == 1u);
        out[at] = before + (x[at] - sums[at % params.width] / f32(params.rows));
    }
}
