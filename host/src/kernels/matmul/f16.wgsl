enable f16;

// out = a b of f16 factors on a GPU without matrix units: matmul.wgsl with twice the values an instruction. 16 terms are
// summed in f16, the rest in f32. Lines of a and b begin at multiples of eight values, with zeros behind their ends.

@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
// f32, or with `HALF` two f16 a value.
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// True if out is f16, in lines that begin at multiples of eight values.
override HALF: bool;

alias Four = vec4<f16>;
alias Block = mat4x4<f16>;

const TERMS = 16u;

fn fetch_a(slot: u32, top: u32, first: u32) -> vec4<f16> {
    let at = select(vec2(top, first), vec2(first, top), A_ROWS) + place(slot, A_ROWS);
    let end = select(vec2(params.m, params.k), vec2(params.k, params.m), A_ROWS);
    let within = at.x < end.x && at.y < end.y;
    let four = (at.y * max(params.a_row, params.a_column) + at.x) / 4u;
    return select(vec4<f16>(), a[select(0u, four, within)], within);
}

fn fetch_b(slot: u32, left: u32, first: u32) -> vec4<f16> {
    let at = select(vec2(first, left), vec2(left, first), B_ROWS) + place(slot, !B_ROWS);
    let end = select(vec2(params.k, params.n), vec2(params.n, params.k), B_ROWS);
    let within = at.x < end.x && at.y < end.y;
    let four = (at.y * max(params.b_row, params.b_column) + at.x) / 4u;
    return select(vec4<f16>(), b[select(0u, four, within)], within);
}

fn wide(sums: mat4x4<f16>) -> mat4x4<f32> {
    return mat4x4(vec4<f32>(sums[0]), vec4<f32>(sums[1]), vec4<f32>(sums[2]), vec4<f32>(sums[3]));
}

fn finish_one(at: u32, within: bool, value: f32) {
    if within {
        out[at] = value + select(0.0, out[at], params.accumulate == 1u);
    }
}

fn finish(row: u32, column: u32, sums: vec4<f32>) {
    let values = sums / params.scale;
    if HALF {
        let line = 2u * half_line(params.n);
        if row < params.m && column < line {
            let at = (row * line + column) / 2u;
            out[at] = bitcast<f32>(half_bits(values.xy));
            out[at + 1u] = bitcast<f32>(half_bits(values.zw));
        }
    } else {
        let at = row * params.n + column;
        let within = row < params.m;
        finish_one(at, within && column < params.n, values.x);
        finish_one(at + 1u, within && column + 1u < params.n, values.y);
        finish_one(at + 2u, within && column + 2u < params.n, values.z);
        finish_one(at + 3u, within && column + 3u < params.n, values.w);
    }
}

@compute @workgroup_size(THREADS)
fn matmul_f16(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) index: u32) {
    let top = group.y * SIDE;
    let left = group.x * SIDE;
    let down = index / ACROSS;
    let right = index % ACROSS;
    var sums_00 = mat4x4<f32>();
    var sums_01 = mat4x4<f32>();
    var sums_10 = mat4x4<f32>();
    var sums_11 = mat4x4<f32>();
    // A tile of side 128 is two fours a thread, one of side 64 four.
    put_a(index, 0u, fetch_a(index, top, 0u));
    put_b(index, 0u, fetch_b(index, left, 0u));
    put_a(index + THREADS, 0u, fetch_a(index + THREADS, top, 0u));
    put_b(index + THREADS, 0u, fetch_b(index + THREADS, left, 0u));
    if SIDE < 128u {
        put_a(index + 2u * THREADS, 0u, fetch_a(index + 2u * THREADS, top, 0u));
        put_b(index + 2u * THREADS, 0u, fetch_b(index + 2u * THREADS, left, 0u));
        put_a(index + 3u * THREADS, 0u, fetch_a(index + 3u * THREADS, top, 0u));
        put_b(index + 3u * THREADS, 0u, fetch_b(index + 3u * THREADS, left, 0u));
    }
    workgroupBarrier();
    var begin = 0u;
    for (var first = 0u; first < params.k; first += TERMS) {
        // Behind the last terms these are zeros.
        let next = first + TERMS;
        let a_0 = fetch_a(index, top, next);
        let b_0 = fetch_b(index, left, next);
        let a_1 = fetch_a(index + THREADS, top, next);
        let b_1 = fetch_b(index + THREADS, left, next);
        var a_2: vec4<f16>;
        var b_2: vec4<f16>;
        var a_3: vec4<f16>;
        var b_3: vec4<f16>;
        if SIDE < 128u {
            a_2 = fetch_a(index + 2u * THREADS, top, next);
            b_2 = fetch_b(index + 2u * THREADS, left, next);
            a_3 = fetch_a(index + 3u * THREADS, top, next);
            b_3 = fetch_b(index + 3u * THREADS, left, next);
        }
        var part_00 = mat4x4<f16>();
        var part_01 = mat4x4<f16>();
        var part_10 = mat4x4<f16>();
        var part_11 = mat4x4<f16>();
        for (var term = 0u; term < TERMS; term += 1u) {
            let row = begin + term * PITCH + down;
            let column = begin + term * PITCH + right;
            part_00 = add(part_00, a_tile[row], b_tile[column]);
            part_01 = add(part_01, a_tile[row], b_tile[column + ACROSS]);
            part_10 = add(part_10, a_tile[row + ACROSS], b_tile[column]);
            part_11 = add(part_11, a_tile[row + ACROSS], b_tile[column + ACROSS]);
        }
        sums_00 += wide(part_00);
        sums_01 += wide(part_01);
        sums_10 += wide(part_10);
        sums_11 += wide(part_11);
        begin = BUFFER - begin;
        put_a(index, begin, a_0);
        put_b(index, begin, b_0);
        put_a(index + THREADS, begin, a_1);
        put_b(index + THREADS, begin, b_1);
        if SIDE < 128u {
            put_a(index + 2u * THREADS, begin, a_2);
            put_b(index + 2u * THREADS, begin, b_2);
            put_a(index + 3u * THREADS, begin, a_3);
            put_b(index + 3u * THREADS, begin, b_3);
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
