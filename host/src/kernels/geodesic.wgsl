// Pairs mixed along the arc between their embeddings, as negatives: a workgroup a row.

struct Params { rows: u32, columns: u32, begin: u32, share: f32, diagonal: u32, add: u32 }

var<immediate> params: Params;

// geodesic
@group(0) @binding(1) var<storage, read> first: array<f32>;
@group(0) @binding(2) var<storage, read> second: array<f32>;
@group(0) @binding(3) var<storage, read> weights: array<f32>;
@group(0) @binding(4) var<storage, read_write> mixed: array<f32>;
@group(0) @binding(5) var<storage, read_write> cosines: array<f32>;

// set_own
@group(0) @binding(1) var<storage, read> own: array<f32>;
@group(0) @binding(2) var<storage, read_write> square: array<f32>;

// negatives_gradient
@group(0) @binding(1) var<storage, read> log_tau: array<f32>;
@group(0) @binding(2) var<storage, read> row: array<f32>;
@group(0) @binding(3) var<storage, read_write> tile: array<f32>;
@group(0) @binding(4) var<storage, read_write> slope: array<f32>;
@group(0) @binding(5) var<storage, read_write> to_own: array<f32>;
@group(0) @binding(6) var<storage, read_write> loss: array<f32>;

// geodesic_gradient
@group(0) @binding(4) var<storage, read> own_cosines: array<f32>;
@group(0) @binding(5) var<storage, read> to_mixed: array<f32>;
@group(0) @binding(6) var<storage, read> own_gradient: array<f32>;
@group(0) @binding(7) var<storage, read_write> to_first: array<f32>;
@group(0) @binding(8) var<storage, read_write> to_second: array<f32>;

const MOST = 0.999;
const PI = 3.1415926535897932;

var<workgroup> parts: array<vec2<f32>, 64>;

// The sum of all threads' values, known to each.
fn total(value: vec2<f32>, index: u32) -> vec2<f32> {
    workgroupBarrier();
    parts[index] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] += parts[index + half];
        }
        workgroupBarrier();
    }
    return parts[0];
}

// The angle of a cosine (Abramowitz and Stegun, 4.4.46), to 2e-8: GPUs' own may be off by much more.
fn angle(cosine: f32) -> f32 {
    let c = abs(cosine);
    var p = -0.0012624911;
    p = p * c + 0.0066700901;
    p = p * c - 0.0170881256;
    p = p * c + 0.0308918810;
    p = p * c - 0.0501743046;
    p = p * c + 0.0889789874;
    p = p * c - 0.2145988016;
    p = p * c + 1.5707963050;
    let acute = sqrt(1.0 - c) * p;
    return select(PI - acute, acute, cosine >= 0.0);
}

// The sine of an angle between -pi/2 and pi/2.
fn sine(u: f32) -> f32 {
    let s = u * u;
    var p = -2.5052108e-8;
    p = p * s + 2.7557319e-6;
    p = p * s - 1.9841270e-4;
    p = p * s + 8.3333333e-3;
    p = p * s - 1.6666667e-1;
    return u + u * s * p;
}

// The factor of a side whose weight is `w`, and its derivative by the angle `t`.
fn factor(w: f32, t: f32) -> vec2<f32> {
    let whole = sine(min(t, PI - t));
    let part = sine(min(w * t, PI - w * t));
    let slopes = w * sine(0.5 * PI - w * t) * whole - part * sine(0.5 * PI - t);
    return vec2(part / whole, slopes / (whole * whole));
}

@compute @workgroup_size(64)
fn geodesic(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let at = min(asked, params.rows - 1u) * params.columns;
    var part = 0.0;
    for (var j = index; j < params.columns; j += 64u) {
        part += first[at + j] * second[at + j];
    }
    let cosine = total(vec2(part, 0.0), index).x;
    if asked < params.rows {
        let t = angle(clamp(cosine, -MOST, MOST));
        let w = weights[asked];
        let a = factor(w, t).x;
        let b = factor(1.0 - w, t).x;
        for (var j = index; j < params.columns; j += 64u) {
            mixed[at + j] = a * first[at + j] + b * second[at + j];
        }
        if index == 0u {
            cosines[asked] = cosine;
        }
    }
}

@compute @workgroup_size(64)
fn set_own(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + index;
    if i < params.rows {
        square[i * params.columns + i] = own[i];
    }
}

@compute @workgroup_size(64)
fn negatives_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = exp(-log_tau[0]);
    let share = params.share * inverse;
    var sum = 0.0;
    for (var j = index; j < params.columns; j += 64u) {
        let at = i * params.columns + j;
        let c = tile[at];
        var gradient = share * exp(c * inverse - row[i]);
        let is_own = params.diagonal == 1u && i == j;
        if is_own {
            gradient -= share;
        }
        sum -= gradient * c;
        if asked < params.rows {
            if is_own {
                to_own[i] = gradient + select(0.0, to_own[i], params.add == 1u);
                loss[i] = row[i] - c * inverse + select(0.0, loss[i], params.add == 1u);
                gradient = 0.0;
            }
            tile[at] = gradient;
        }
    }
    sum = total(vec2(sum, 0.0), index).x;
    if asked < params.rows && index == 0u {
        slope[i] = sum + select(slope[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn geodesic_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let at = i * params.columns;
    var shares = vec2(0.0);
    for (var j = index; j < params.columns; j += 64u) {
        shares += to_mixed[at + j] * vec2(first[at + j], second[at + j]);
    }
    shares = total(shares, index);
    if asked < params.rows {
        let cosine = own_cosines[i];
        let t = angle(clamp(cosine, -MOST, MOST));
        let w = weights[i];
        let a = factor(w, t);
        let b = factor(1.0 - w, t);
        // Beyond the bound, the angle stays.
        let by_angle = -(a.y * shares.x + b.y * shares.y) / sine(min(t, PI - t));
        let by_cosine = own_gradient[i] + select(0.0, by_angle, abs(cosine) < MOST);
        for (var j = index; j < params.columns; j += 64u) {
            to_first[at + j] += a.x * to_mixed[at + j] + by_cosine * second[at + j];
            to_second[at + j] += b.x * to_mixed[at + j] + by_cosine * first[at + j];
        }
    }
}
