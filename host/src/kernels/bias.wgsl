// out += bias, a value a thread; the sum over the rows, 16 columns a workgroup, `LANES` threads each.

struct Params { rows: u32, width: u32, accumulate: u32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> bias: array<f32>;
@group(0) @binding(2) var<storage, read_write> out: array<f32>;

// column_sum
@group(0) @binding(1) var<storage, read> x: array<f32>;

// True if x is f16, in lines that begin at multiples of eight values.
override HALF: bool;

// Threads that share a column.
override LANES: u32;

var<workgroup> lanes: array<f32, 1024>;

fn x_value(row: u32, column: u32) -> f32 {
    if HALF {
        let word = row * half_line(params.width) + column / 2u;
        return unpack2x16float(bitcast<u32>(x[word]))[column % 2u];
    }
    return x[row * params.width + column];
}

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

@compute @workgroup_size(16u * LANES)
fn column_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = (group.y * groups.x + group.x) * 16u + index % 16u;
    let column = min(asked, params.width - 1u);
    var total = 0.0;
    for (var row = index / 16u; row < params.rows; row += LANES) {
        total += x_value(row, column);
    }
    lanes[index] = total;
    workgroupBarrier();
    for (var half = 8u * LANES; half >= 16u; half /= 2u) {
        if index < half {
            lanes[index] += lanes[index + half];
        }
        workgroupBarrier();
    }
    if asked < params.width && index < 16u {
        out[column] = lanes[index] + select(0.0, out[column], params.accumulate == 1u);
    }
}
