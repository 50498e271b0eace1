// Sinkhorn's steps over a matrix of cosines, and the gradient of the divergence of two plans.

// `factor` and the teacher's temperature are those of plan_gradient.
struct Params { rows: u32, columns: u32, halfway: u32, epsilon: f32, factor: f32, teacher: f32 }

var<immediate> params: Params;

// row_potentials, column_potentials
@group(0) @binding(1) var<storage, read> cosines: array<f32>;
@group(0) @binding(2) var<storage, read> other: array<f32>;
@group(0) @binding(3) var<storage, read_write> own: array<f32>;

// plan_gradient
@group(0) @binding(2) var<storage, read> teacher_u: array<f32>;
@group(0) @binding(3) var<storage, read> teacher_v: array<f32>;
@group(0) @binding(4) var<storage, read> u: array<f32>;
@group(0) @binding(5) var<storage, read> v: array<f32>;
@group(0) @binding(6) var<storage, read_write> tile: array<f32>;
@group(0) @binding(7) var<storage, read_write> losses: array<f32>;

const LEAST = -3.0e38;

var<workgroup> parts: array<f32, 64>;

// The sum of all threads' values, known to each.
fn total(value: f32, index: u32) -> f32 {
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

// The largest of all threads' values, known to each.
fn largest(value: f32, index: u32) -> f32 {
    workgroupBarrier();
    parts[index] = value;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] = max(parts[index], parts[index + half]);
        }
        workgroupBarrier();
    }
    return parts[0];
}

@compute @workgroup_size(64)
fn row_potentials(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let inverse = 1.0 / params.epsilon;
    var most = LEAST;
    for (var j = index; j < params.columns; j += 64u) {
        most = max(most, cosines[i * params.columns + j] * inverse + other[j]);
    }
    most = largest(most, index);
    var sum = 0.0;
    for (var j = index; j < params.columns; j += 64u) {
        sum += exp(cosines[i * params.columns + j] * inverse + other[j] - most);
    }
    sum = total(sum, index);
    if asked < params.rows && index == 0u {
        let new_one = -log(f32(params.rows)) - most - log(sum);
        own[i] = select(new_one, 0.5 * (own[i] + new_one), params.halfway == 1u);
    }
}

@compute @workgroup_size(64)
fn column_potentials(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let j = (group.y * groups.x + group.x) * 64u + index;
    if j >= params.columns {
        return;
    }
    let inverse = 1.0 / params.epsilon;
    var most = LEAST;
    for (var i = 0u; i < params.rows; i += 1u) {
        most = max(most, cosines[i * params.columns + j] * inverse + other[i]);
    }
    var sum = 0.0;
    for (var i = 0u; i < params.rows; i += 1u) {
        sum += exp(cosines[i * params.columns + j] * inverse + other[i] - most);
    }
    let new_one = -log(f32(params.columns)) - most - log(sum);
    own[j] = select(new_one, 0.5 * (own[j] + new_one), params.halfway == 1u);
}

@compute @workgroup_size(64)
fn plan_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    let share = params.factor / params.epsilon;
    var loss = 0.0;
    if asked < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let at = i * params.columns + j;
            let log_own = tile[at] / params.epsilon + u[i] + v[j];
            let log_teacher = cosines[at] / params.teacher + teacher_u[i] + teacher_v[j];
            let plan = exp(log_teacher);
            loss += plan * (log_teacher - log_own);
            tile[at] = share * (exp(log_own) - plan);
        }
    }
    loss = total(loss, index);
    if asked < params.rows && index == 0u {
        losses[i] = loss;
    }
}
