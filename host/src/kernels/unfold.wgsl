// dW = S gain + db shift, dgain = sum_i S_i W_i, dshift = sum_i db_i W_i, 16 columns a workgroup, `LANES` threads each.

struct Params { rows: u32, width: u32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> weight: array<f32>;
@group(0) @binding(2) var<storage, read> gain: array<f32>;
@group(0) @binding(3) var<storage, read> shift: array<f32>;
@group(0) @binding(4) var<storage, read> to_bias: array<f32>;
@group(0) @binding(5) var<storage, read_write> s: array<f32>;
@group(0) @binding(6) var<storage, read_write> to_gain: array<f32>;
@group(0) @binding(7) var<storage, read_write> to_shift: array<f32>;

// Threads that share a column.
override LANES: u32;

var<workgroup> lanes: array<vec2<f32>, 1024>;

@compute @workgroup_size(16u * LANES)
fn unfold(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let column = (group.y * groups.x + group.x) * 16u + index % 16u;
    var sums = vec2(0.0);
    if column < params.width {
        for (var row = index / 16u; row < params.rows; row += LANES) {
            let at = row * params.width + column;
            sums += vec2(s[at], to_bias[row]) * weight[at];
            s[at] = s[at] * gain[column] + to_bias[row] * shift[column];
        }
    }
    lanes[index] = sums;
    workgroupBarrier();
    for (var half = 8u * LANES; half >= 16u; half /= 2u) {
        if index < half {
            lanes[index] += lanes[index + half];
        }
        workgroupBarrier();
    }
    if column < params.width && index < 16u {
        to_gain[column] = lanes[index].x;
        to_shift[column] = lanes[index].y;
    }
}
