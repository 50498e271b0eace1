// A matrix, scaled, in f16: lines of pairs, four pairs at least, with zeros behind their ends. A pair a thread.

struct Params { rows: u32, width: u32, scale: f32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<u32>;

@compute @workgroup_size(256)
fn halve(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    let line = half_line(params.width);
    let row = at / line;
    if row < params.rows {
        let column = 2u * (at % line);
        var pair = vec2(0.0);
        if column < params.width {
            pair.x = values[row * params.width + column];
        }
        if column + 1u < params.width {
            pair.y = values[row * params.width + column + 1u];
        }
        out[at] = half_bits(params.scale * pair);
    }
}
