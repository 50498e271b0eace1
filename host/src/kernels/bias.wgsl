// out += bias, a value a thread; the sum over the rows, a column a thread.

struct Params { rows: u32, width: u32, accumulate: u32 }

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// add_bias_and_residual
@group(0) @binding(2) var<storage, read> residual: array<f32>;
@group(0) @binding(3) var<storage, read_write> sum: array<f32>;

// column_sum
@group(0) @binding(1) var<storage, read> x: array<f32>;

@compute @workgroup_size(256)
fn add_bias(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        out[at] += bias[at % params.width];
    }
}

@compute @workgroup_size(256)
fn add_bias_and_residual(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = (group.y * groups.x + group.x) * 256u + index;
    if at < params.rows * params.width {
        sum[at] += bias[at % params.width] + residual[at];
    }
}

@compute @workgroup_size(64)
fn column_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let column = (group.y * groups.x + group.x) * 64u + index;
    if column < params.width {
        var total = 0.0;
        for (var row = 0u; row < params.rows; row += 1u) {
            total += x[row * params.width + column];
        }
        out[column] = total + select(0.0, out[column], params.accumulate == 1u);
    }
}
