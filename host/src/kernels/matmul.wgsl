// out = a b: a workgroup computes 64 x 64 values of out, a thread 4 x 4 of them, 16 terms of the sums at a time.

struct Params {
    m: u32, n: u32, k: u32,
    a_row: u32, a_column: u32, b_row: u32, b_column: u32,
    accumulate: u32, bf16: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<f32>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// terms x rows of a, terms x columns of b
var<workgroup> a_tile: array<f32, 1024>;
var<workgroup> b_tile: array<f32, 1024>;

// A factor as the product takes it: to the nearest bf16, ties to even, if that is asked for.
fn factor(value: f32) -> f32 {
    let bits = bitcast<u32>(value);
    let rounded = bitcast<f32>((bits + 0x7fffu + ((bits >> 16u) & 1u)) & 0xffff0000u);
    return select(value, rounded, params.bf16 == 1u);
}

@compute @workgroup_size(16, 16)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let top = group.y * 64u;
    let left = group.x * 64u;
    var sums = array<vec4<f32>, 4>();
    for (var first = 0u; first < params.k; first += 16u) {
        for (var slot = index; slot < 1024u; slot += 256u) {
            // Neighbouring threads read neighbouring values, whichever way the matrix lies.
            var term = slot % 16u;
            var place = slot / 16u;
            if params.a_column != 1u {
                term = slot / 64u;
                place = slot % 64u;
            }
            var value = 0.0;
            if top + place < params.m && first + term < params.k {
                value = factor(a[(top + place) * params.a_row + (first + term) * params.a_column]);
            }
            a_tile[term * 64u + place] = value;

            term = slot / 64u;
            place = slot % 64u;
            if params.b_column != 1u {
                term = slot % 16u;
                place = slot / 16u;
            }
            value = 0.0;
            if left + place < params.n && first + term < params.k {
                value = factor(b[(first + term) * params.b_row + (left + place) * params.b_column]);
            }
            b_tile[term * 64u + place] = value;
        }
        workgroupBarrier();
        for (var term = 0u; term < 16u; term += 1u) {
            let row = term * 64u + local.y * 4u;
            let column = term * 64u + local.x * 4u;
            let values = vec4(b_tile[column], b_tile[column + 1u], b_tile[column + 2u], b_tile[column + 3u]);
            sums[0] += a_tile[row] * values;
            sums[1] += a_tile[row + 1u] * values;
            sums[2] += a_tile[row + 2u] * values;
            sums[3] += a_tile[row + 3u] * values;
        }
        workgroupBarrier();
    }
    for (var i = 0u; i < 4u; i += 1u) {
        let row = top + local.y * 4u + i;
        for (var j = 0u; j < 4u; j += 1u) {
            let column = left + local.x * 4u + j;
            if row < params.m && column < params.n {
                let at = row * params.n + column;
                out[at] = sums[i][j] + select(0.0, out[at], params.accumulate == 1u);
            }
        }
    }
}
