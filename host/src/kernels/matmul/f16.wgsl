enable f16;

// out = a b of factors rounded to f16: matmul.wgsl with twice the values an instruction. 16 terms are summed in f16, the
// rest in f32. `scale` brings a, a gradient, into the range of f16; a factor beyond it counts as its largest value.

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

var<workgroup> a_tile: array<vec4<f16>, 272>;
var<workgroup> b_tile: array<vec4<f16>, 272>;

fn factor(value: f32) -> f16 {
    return f16(clamp(value, -65504.0, 65504.0));
}

fn a_value(row: u32, term: u32) -> f16 {
    if row < params.m && term < params.k {
        return factor(params.scale * a[row * params.a_row + term * params.a_column]);
    }
    return 0.0h;
}

fn b_value(term: u32, column: u32) -> f16 {
    if term < params.k && column < params.n {
        return factor(b[term * params.b_row + column * params.b_column]);
    }
    return 0.0h;
}

fn add(sums: mat4x4<f16>, rows: vec4<f16>, columns: vec4<f16>) -> mat4x4<f16> {
    return mat4x4(
        fma(vec4(rows.x), columns, sums[0]),
        fma(vec4(rows.y), columns, sums[1]),
        fma(vec4(rows.z), columns, sums[2]),
        fma(vec4(rows.w), columns, sums[3]),
    );
}

fn wide(sums: mat4x4<f16>) -> mat4x4<f32> {
    return mat4x4(vec4<f32>(sums[0]), vec4<f32>(sums[1]), vec4<f32>(sums[2]), vec4<f32>(sums[3]));
}

fn put(row: u32, column: u32, sums: mat4x4<f32>) {
    var block = sums;
    for (var i = 0u; i < 4u; i += 1u) {
        for (var j = 0u; j < 4u; j += 1u) {
            if row + i < params.m && column + j < params.n {
                let at = (row + i) * params.n + column + j;
                out[at] = block[i][j] / params.scale + select(0.0, out[at], params.accumulate == 1u);
            }
        }
    }
}

@compute @workgroup_size(8, 8)
fn matmul_f16(
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
        var part_00 = mat4x4<f16>();
        var part_01 = mat4x4<f16>();
        var part_10 = mat4x4<f16>();
        var part_11 = mat4x4<f16>();
        for (var term = 0u; term < TERMS; term += 1u) {
            let row = term * PITCH + local.y;
            let column = term * PITCH + local.x;
            part_00 = add(part_00, a_tile[row], b_tile[column]);
            part_01 = add(part_01, a_tile[row], b_tile[column + 8u]);
            part_10 = add(part_10, a_tile[row + 8u], b_tile[column]);
            part_11 = add(part_11, a_tile[row + 8u], b_tile[column + 8u]);
        }
        sums_00 += wide(part_00);
        sums_01 += wide(part_01);
        sums_10 += wide(part_10);
        sums_11 += wide(part_11);
        workgroupBarrier();
    }
    let row = top + 4u * local.y;
    let column = left + 4u * local.x;
    put(row, column, sums_00);
    put(row, column + 32u, sums_01);
    put(row + 32u, column, sums_10);
    put(row + 32u, column + 32u, sums_11);
}
