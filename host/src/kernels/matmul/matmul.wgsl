// out = a b: a workgroup computes `SIDE` x `SIDE` values of out, a thread two by two blocks of 4 x 4 of them, 8 terms of
// the sums at a time. Those lie in one buffer of workgroup memory, while the 8 that follow are on their way into the
// other, as tiles.wgsl says; wide.wgsl or narrow.wgsl says how the matrices are read.

alias Four = vec4<f32>;
alias Block = mat4x4<f32>;

const TERMS = 8u;

// Of `end` values, those from `begin` on; none if the line is not within.
fn left_of(begin: u32, end: u32, within: bool) -> u32 {
    return select(0u, end - min(begin, end), within);
}

fn fetch_a(slot: u32, top: u32, first: u32) -> vec4<f32> {
    let at = select(vec2(top, first), vec2(first, top), A_ROWS) + place(slot, A_ROWS);
    let end = select(vec2(params.m, params.k), vec2(params.k, params.m), A_ROWS);
    return a_four(at.y * max(params.a_row, params.a_column) + at.x, left_of(at.x, end.x, at.y < end.y));
}

fn fetch_b(slot: u32, left: u32, first: u32) -> vec4<f32> {
    let at = select(vec2(first, left), vec2(left, first), B_ROWS) + place(slot, !B_ROWS);
    let end = select(vec2(params.k, params.n), vec2(params.n, params.k), B_ROWS);
    return b_four(at.y * max(params.b_row, params.b_column) + at.x, left_of(at.x, end.x, at.y < end.y));
}

fn finish(row: u32, column: u32, values: vec4<f32>) {
    out_four(row * params.n + column, left_of(column, params.n, row < params.m), values);
}

@compute @workgroup_size(THREADS)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let top = group.y * SIDE;
    let left = group.x * SIDE;
    let down = index / ACROSS;
    let right = index % ACROSS;
    var sums_00 = mat4x4<f32>();
    var sums_01 = mat4x4<f32>();
    var sums_10 = mat4x4<f32>();
    var sums_11 = mat4x4<f32>();
    // A tile of side 128 is a four a thread, one of side 64 two.
    put_a(index, 0u, fetch_a(index, top, 0u));
    put_b(index, 0u, fetch_b(index, left, 0u));
    if SIDE < 128u {
        put_a(index + THREADS, 0u, fetch_a(index + THREADS, top, 0u));
        put_b(index + THREADS, 0u, fetch_b(index + THREADS, left, 0u));
    }
    workgroupBarrier();
    var begin = 0u;
    for (var first = 0u; first < params.k; first += TERMS) {
        // Behind the last terms these are zeros.
        let next = first + TERMS;
        let a_0 = fetch_a(index, top, next);
        let b_0 = fetch_b(index, left, next);
        var a_1: vec4<f32>;
        var b_1: vec4<f32>;
        if SIDE < 128u {
            a_1 = fetch_a(index + THREADS, top, next);
            b_1 = fetch_b(index + THREADS, left, next);
        }
        for (var term = 0u; term < TERMS; term += 1u) {
            let row = begin + term * PITCH + down;
            let column = begin + term * PITCH + right;
            sums_00 = add(sums_00, a_tile[row], b_tile[column]);
            sums_01 = add(sums_01, a_tile[row], b_tile[column + ACROSS]);
            sums_10 = add(sums_10, a_tile[row + ACROSS], b_tile[column]);
            sums_11 = add(sums_11, a_tile[row + ACROSS], b_tile[column + ACROSS]);
        }
        begin = BUFFER - begin;
        put_a(index, begin, a_0);
        put_b(index, begin, b_0);
        if SIDE < 128u {
            put_a(index + THREADS, begin, a_1);
            put_b(index + THREADS, begin, b_1);
        }
        workgroupBarrier();
    }
    let row = top + 4u * down;
    let column = left + 4u * right;
    finish_block(row, column, sums_00);
    finish_block(row, column + SIDE / 2u, sums_01);
    finish_block(row + SIDE / 2u, column, sums_10);
    finish_block(row + SIDE / 2u, column + SIDE / 2u, sums_11);
}
