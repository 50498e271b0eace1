// out = lambda z + (1 - lambda) z', a value a thread; rows outside of this chunk of the latents come with another launch.

struct Params { rows: u32, width: u32, first: u32, count: u32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<f32>;
@group(0) @binding(2) var<storage, read> pairs: array<u32>;
@group(0) @binding(3) var<storage, read> lambdas: array<f32>;
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

fn share(row: u32, column: u32, weight: f32) -> f32 {
    let at = row - params.first;
    if row < params.first || at >= params.count {
        return 0.0;
    }
    return weight * latents[at * params.width + column];
}

@compute @workgroup_size(256)
fn mix_rows(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    let row = at / params.width;
    if row < params.rows {
        let column = at % params.width;
        let lambda = lambdas[row];
        let sum = share(pairs[row], column, lambda) + share(pairs[params.rows + row], column, 1.0 - lambda);
        out[at] = sum + select(out[at], 0.0, params.first == 0u);
    }
}
