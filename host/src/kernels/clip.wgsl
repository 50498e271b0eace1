// Sums of squares, a workgroup a part; the factor that all gradients are clipped with.

struct Params { count: u32, longest: f32 }

var<immediate> params: Params;

// square_sums
@group(0) @binding(1) var<storage, read> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

// clip_factor
@group(0) @binding(1) var<storage, read> all_parts: array<f32>;
@group(0) @binding(2) var<storage, read_write> factor: array<f32>;

@compute @workgroup_size(256)
fn square_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let part = (params.count + groups.x - 1u) / groups.x;
    let end = min(params.count, (group.x + 1u) * part);
    var sum = 0.0;
    for (var at = group.x * part + index; at < end; at += 256u) {
        sum += gradient[at] * gradient[at];
    }
    sum = total(sum, index);
    if index == 0u {
        parts[group.x] = sum;
    }
}

@compute @workgroup_size(256)
fn clip_factor(@builtin(local_invocation_index) index: u32) {
    var sum = 0.0;
    for (var at = index; at < params.count; at += 256u) {
        sum += all_parts[at];
    }
    sum = total(sum, index);
    if index == 0u {
        factor[0] = min(params.longest / (sqrt(sum) + 1e-6), 1.0);
    }
}
