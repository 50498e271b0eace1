// out = a b for GPUs in software, where a subgroup is 8 threads in a vector and loads are what costs: a subgroup computes
// 32 x 16 values of out, a thread 4 rows of them. For 8 terms of the sums a thread loads two blocks of 4 x 4 values of a,
// its own, and one of b, which all take a share of.
//
// Shapes tried with Mesa 22.3 on 2 cores, products of 480 to 960 a side, in GFLOP/s: one value a thread 0.9; 64 x 64 in
// workgroup memory 2.4 to 3.7; a broadcast, b loaded one by one, 8 x 16 to 12 x 16 values a subgroup 13 to 17; the same with
// b in fours, 8 x 32 19; b broadcast, a its own: 8 x 16 24, 16 x 16 30 to 33, 24 x 12 34, 32 x 16 (this one) 33 to 41,
// 32 x 20 35 to 41, 32 x 24 34 to 37, 32 x 32 29 to 35, 64 x 16 23 to 37. With loads one by one 22; with sums that a loop
// indexes 4.

@group(0) @binding(1) var<storage, read> a: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;

// Four rows of a, a term a column of the result.
fn a_block(row: u32, term: u32) -> mat4x4<f32> {
    let rows = params.a_column == 1u;
    let at = (row * params.a_row + term * params.a_column) / 4u;
    let step = max(params.a_row, params.a_column) / 4u;
    let block = mat4x4(a[at], a[at + step], a[at + 2u * step], a[at + 3u * step]);
    let turned = transpose(block);
    return mat4x4(
        select(block[0], turned[0], rows),
        select(block[1], turned[1], rows),
        select(block[2], turned[2], rows),
        select(block[3], turned[3], rows),
    );
}

// Four columns of b, a term a column of the result; zeros behind the last.
fn b_block(term: u32, column: u32) -> mat4x4<f32> {
    let columns = params.b_row == 1u;
    let at = (term * params.b_row + column * params.b_column) / 4u;
    let step = max(params.b_row, params.b_column) / 4u;
    let block = mat4x4(b[at], b[at + step], b[at + 2u * step], b[at + 3u * step]);
    let turned = transpose(block);
    let zero = vec4(0.0);
    return mat4x4(
        select(zero, select(block[0], turned[0], columns), term < params.k),
        select(zero, select(block[1], turned[1], columns), term + 1u < params.k),
        select(zero, select(block[2], turned[2], columns), term + 2u < params.k),
        select(zero, select(block[3], turned[3], columns), term + 3u < params.k),
    );
}

fn add(sums: mat4x4<f32>, rows: vec4<f32>, columns: vec4<f32>) -> mat4x4<f32> {
    return mat4x4(
        fma(vec4(rows.x), columns, sums[0]),
        fma(vec4(rows.y), columns, sums[1]),
        fma(vec4(rows.z), columns, sums[2]),
        fma(vec4(rows.w), columns, sums[3]),
    );
}

fn put_row(row: u32, column: u32, sums: vec4<f32>) {
    if row < params.m && column < params.n {
        let at = (row * params.n + column) / 4u;
        out[at] = sums + select(vec4(0.0), out[at], params.accumulate == 1u);
    }
}

fn put(row: u32, column: u32, sums: mat4x4<f32>) {
    put_row(row, column, sums[0]);
    put_row(row + 1u, column, sums[1]);
    put_row(row + 2u, column, sums[2]);
    put_row(row + 3u, column, sums[3]);
}

@compute @workgroup_size(8)
fn matmul_software(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * 32u + 4u * lane;
    let left = group.x * 16u;
    var sums_0 = mat4x4<f32>();
    var sums_1 = mat4x4<f32>();
    var sums_2 = mat4x4<f32>();
    var sums_3 = mat4x4<f32>();
    for (var first = 0u; first < params.k; first += 8u) {
        let near = a_block(row, first);
        let far = a_block(row, first + 4u);
        let own = b_block(first + lane / 4u * 4u, left + lane % 4u * 4u);
        sums_0 = add(sums_0, near[0], subgroupBroadcast(own[0], 0u));
        sums_1 = add(sums_1, near[0], subgroupBroadcast(own[0], 1u));
        sums_2 = add(sums_2, near[0], subgroupBroadcast(own[0], 2u));
        sums_3 = add(sums_3, near[0], subgroupBroadcast(own[0], 3u));
        sums_0 = add(sums_0, near[1], subgroupBroadcast(own[1], 0u));
        sums_1 = add(sums_1, near[1], subgroupBroadcast(own[1], 1u));
        sums_2 = add(sums_2, near[1], subgroupBroadcast(own[1], 2u));
        sums_3 = add(sums_3, near[1], subgroupBroadcast(own[1], 3u));
        sums_0 = add(sums_0, near[2], subgroupBroadcast(own[2], 0u));
        sums_1 = add(sums_1, near[2], subgroupBroadcast(own[2], 1u));
        sums_2 = add(sums_2, near[2], subgroupBroadcast(own[2], 2u));
        sums_3 = add(sums_3, near[2], subgroupBroadcast(own[2], 3u));
        sums_0 = add(sums_0, near[3], subgroupBroadcast(own[3], 0u));
        sums_1 = add(sums_1, near[3], subgroupBroadcast(own[3], 1u));
        sums_2 = add(sums_2, near[3], subgroupBroadcast(own[3], 2u));
        sums_3 = add(sums_3, near[3], subgroupBroadcast(own[3], 3u));
        sums_0 = add(sums_0, far[0], subgroupBroadcast(own[0], 4u));
        sums_1 = add(sums_1, far[0], subgroupBroadcast(own[0], 5u));
        sums_2 = add(sums_2, far[0], subgroupBroadcast(own[0], 6u));
        sums_3 = add(sums_3, far[0], subgroupBroadcast(own[0], 7u));
        sums_0 = add(sums_0, far[1], subgroupBroadcast(own[1], 4u));
        sums_1 = add(sums_1, far[1], subgroupBroadcast(own[1], 5u));
        sums_2 = add(sums_2, far[1], subgroupBroadcast(own[1], 6u));
        sums_3 = add(sums_3, far[1], subgroupBroadcast(own[1], 7u));
        sums_0 = add(sums_0, far[2], subgroupBroadcast(own[2], 4u));
        sums_1 = add(sums_1, far[2], subgroupBroadcast(own[2], 5u));
        sums_2 = add(sums_2, far[2], subgroupBroadcast(own[2], 6u));
        sums_3 = add(sums_3, far[2], subgroupBroadcast(own[2], 7u));
        sums_0 = add(sums_0, far[3], subgroupBroadcast(own[3], 4u));
        sums_1 = add(sums_1, far[3], subgroupBroadcast(own[3], 5u));
        sums_2 = add(sums_2, far[3], subgroupBroadcast(own[3], 6u));
        sums_3 = add(sums_3, far[3], subgroupBroadcast(own[3], 7u));
    }
    put(row, left + 0u, sums_0);
    put(row, left + 4u, sums_1);
    put(row, left + 8u, sums_2);
    put(row, left + 12u, sums_3);
}
