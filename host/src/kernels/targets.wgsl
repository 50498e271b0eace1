// Targets beyond each pair's own, in tiles: a workgroup a row.

// spread, overlaps and row_totals need no `diagonal`, `share` and `whole`.
struct Params { rows: u32, columns: u32, begin: u32, diagonal: u32, share: f32, whole: f32 }

var<immediate> params: Params;

// overlaps
@group(0) @binding(1) var<storage, read> of_rows: array<u32>;
@group(0) @binding(2) var<storage, read> of_columns: array<u32>;
@group(0) @binding(3) var<storage, read_write> overlap_tile: array<f32>;

// row_totals
@group(0) @binding(1) var<storage, read> whole_tile: array<f32>;
@group(0) @binding(2) var<storage, read_write> sums: array<f32>;

// spread
@group(0) @binding(1) var<storage, read> row_sums: array<f32>;
@group(0) @binding(2) var<storage, read> column_sums: array<f32>;

// soften
@group(0) @binding(1) var<storage, read> log_tau: array<f32>;
@group(0) @binding(2) var<storage, read> row: array<f32>;
@group(0) @binding(3) var<storage, read> column: array<f32>;
@group(0) @binding(4) var<storage, read_write> soft_tile: array<f32>;

var<workgroup> parts: array<f32, 64>;

// The share of `wanted` that column `j` has on a side.
fn has(j: u32, side: u32, wanted: u32) -> f32 {
    let b = bitcast<f32>(of_columns[j * 5u + 4u]);
    let first = select(0.0, b, of_columns[j * 5u + side] == wanted);
    return first + select(0.0, 1.0 - b, of_columns[j * 5u + side + 1u] == wanted);
}

// The share of each of a sum; where nothing is in common, nothing is wanted.
fn share(sum: f32) -> f32 {
    return select(0.0, 1.0 / sum, sum > 1.0e-30);
}

fn overlap(i: u32, j: u32, side: u32) -> f32 {
    let a = bitcast<f32>(of_rows[i * 5u + 4u]);
    let first = of_rows[i * 5u + side];
    let second = of_rows[i * 5u + side + 1u];
    if first == second {
        return min(has(j, side, first), 1.0);
    }
    return min(a, has(j, side, first)) + min(1.0 - a, has(j, side, second));
}

@compute @workgroup_size(64)
fn overlaps(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = group.y * groups.x + group.x;
    if i < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            overlap_tile[i * params.columns + j] = max(overlap(i, j, 0u), overlap(i, j, 2u));
        }
    }
}

@compute @workgroup_size(64)
fn row_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let asked = group.y * groups.x + group.x;
    let i = min(asked, params.rows - 1u);
    var part = 0.0;
    for (var j = index; j < params.columns; j += 64u) {
        part += whole_tile[i * params.columns + j];
    }
    parts[index] = part;
    workgroupBarrier();
    for (var half = 32u; half > 0u; half /= 2u) {
        if index < half {
            parts[index] += parts[index + half];
        }
        workgroupBarrier();
    }
    if asked < params.rows && index == 0u {
        sums[i] = parts[0] + select(sums[i], 0.0, params.begin == 1u);
    }
}

@compute @workgroup_size(64)
fn spread(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = group.y * groups.x + group.x;
    if i < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            overlap_tile[i * params.columns + j] *= share(row_sums[i]) + share(column_sums[j]);
        }
    }
}

@compute @workgroup_size(64)
fn soften(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let i = group.y * groups.x + group.x;
    let inverse = exp(-log_tau[0]);
    if i < params.rows {
        for (var j = index; j < params.columns; j += 64u) {
            let s = soft_tile[i * params.columns + j] * inverse;
            let soft = 0.5 * params.share * (exp(s - row[i]) + exp(s - column[j]));
            let own = select(0.0, 1.0 - params.share, params.diagonal == 1u && i == j);
            soft_tile[i * params.columns + j] = params.whole * (soft + own);
        }
    }
}
