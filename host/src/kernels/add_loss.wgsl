// losses[step] += factor * sum of values, by one workgroup.

struct Params { count: u32, step: u32, factor: f32 }

var<immediate> params: Params;
@group(0) @binding(1) var<storage, read> values: array<f32>;
@group(0) @binding(2) var<storage, read_write> losses: array<f32>;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn add_loss(@builtin(local_invocation_index) index: u32) {
    var sum = 0.0;
    for (var i = index; i < params.count; i += 64u) {
        sum += values[i];
    }
    parts[index] = sum;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] += parts[index + half];
        }
        workgroupBarrier();
    }
    if index == 0u {
        losses[params.step] += params.factor * parts[0];
    }
}
