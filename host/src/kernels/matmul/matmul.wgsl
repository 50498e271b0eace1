// out = a b: a workgroup of 8 x 8 threads computes 64 x 64 values of out, a thread two by two blocks of 4 x 4 of them,
// 16 terms of the sums at a time, which it finds in workgroup memory.

struct Params {
    m: u32, n: u32, k: u32,
    a_row: u32, a_column: u32, b_row: u32, b_column: u32,
    accumulate: u32, scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

const TERMS = 16u;
// Blocks of 4 values of a term, and one that keeps the terms apart in the memory's banks.
const PITCH = 17u;

var<workgroup> a_tile: array<vec4<f32>, 272>;
var<workgroup> b_tile: array<vec4<f32>, 272>;

fn a_value(row: u32, term: u32) -> f32 {
    if row < params.m && term < params.k {
        return a[row * params.a_row + term * params.a_column];
    }
    return 0.0;
}

fn b_value(term: u32, column: u32) -> f32 {
    if term < params.k && column < params.n {
        return b[term * params.b_row + column * params.b_column];
    }
    return 0.0;
}

fn add(sums: mat4x4<f32>, rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(
        fma(vec4(rows.x), columns, sums[0]),
        fma(vec4(rows.y), columns, sums[1]),
        fma(vec4(rows.z), columns, sums[2]),
        fma(vec4(rows.w), columns, sums[3]),
    );
}

fn put(row: u32, column: u32, sums: mat4x4<f32>) {
    var block = sums;
    for (var i = 0u; i < 4u; i += 1u) {
        for (var j = 0u; j < 4u; j += 1u) {
            if row + i < params.m && column + j < params.n {
                let at = (row + i) * params.n + column + j;
                out[at] = block[i][j] + select(0.0, out[at], params.accumulate == 1u);
            }
        }
    }
}

@compute @workgroup_size(8, 8)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let top = group.y * 64u;
    let left = group.x * 64u;
    var sums_00 = mat4x4<f32>();
    var sums_01 = mat4x4<f32>();
    var sums_10 = mat4x4<f32>();
    var sums_11 = mat4x4<f32>();
    for (var first = 0u; first < params.k; first += TERMS) {
        for (var slot = index; slot < 256u; slot += 64u) {
            // Neighbouring threads read neighbouring values, whichever way the matrix lies.
            var place = select(vec2(slot / 16u, slot % 16u), vec2(slot % 16u, slot / 16u), params.a_column == 1u);
            let row = top + 4u * place.y;
            var term = first + place.x;
            a_tile[place.x * PITCH + place.y] =
                vec4(a_value(row, term), a_value(row + 1u, term), a_value(row + 2u, term), a_value(row + 3u, term));
            place = select(vec2(slot % 16u, slot / 16u), vec2(slot / 16u, slot % 16u), params.b_column == 1u);
            let column = left + 4u * place.y;
            term = first + place.x;
            b_tile[place.x * PITCH + place.y] = vec4(
                b_value(term, column), b_value(term, column + 1u), b_value(term, column + 2u), b_value(term, column + 3u),
            );
        }
        workgroupBarrier();
        for (var term = 0u; term < TERMS; term += 1u) {
            let row = term * PITCH + local.y;
            let column = term * PITCH + local.x;
            sums_00 = add(sums_00, a_tile[row], b_tile[column]);
            sums_01 = add(sums_01, a_tile[row], b_tile[column + 8u]);
            sums_10 = add(sums_10, a_tile[row + 8u], b_tile[column]);
            sums_11 = add(sums_11, a_tile[row + 8u], b_tile[column + 8u]);
        }
        workgroupBarrier();
    }
    let row = top + 4u * local.y;
    let column = left + 4u * local.x;
    put(row, column, sums_00);
    put(row, column + 32u, sums_01);
    put(row + 32u, column, sums_10);
    put(row + 32u, column + 32u, sums_11);
}
