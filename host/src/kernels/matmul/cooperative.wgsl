// out = a b of f16 factors with f32 sums, on a GPU's matrix units. A workgroup computes 128 x 128 values of out, 32 terms
// at a time: they lie in workgroup memory, while those that follow are on their way into registers. A subgroup computes
// four by four fragments of `FRAGMENT` x `FRAGMENT` values; the file beside this one says what a fragment is.
//
// Lines of a and b (rows, or columns of a matrix that lies column by column) begin at multiples of eight values, and the
// values behind their ends are zeros, so that four values are all inside or all without a meaning.

@group(0) @binding(1) var<storage, read> a: array<vec4<f16>>;
@group(0) @binding(2) var<storage, read> b: array<vec4<f16>>;
// f32, or with `HALF` two f16 a value.
@group(0) @binding(3) var<storage, read_write> out: array<f32>;

// True if the matrix lies row by row.
override A_ROWS: bool;
override B_ROWS: bool;
// True if out is f16, in lines that begin at multiples of eight values.
override HALF: bool;
// Threads of a workgroup: `SUBGROUPS` subgroups.
override THREADS: u32;

// Rows or columns of a workgroup, and terms at a time.
const SIDE = 128u;
const TERMS = 32u;
// Subgroups next to and below each other.
const ACROSS = SIDE / (4u * FRAGMENT);
const SUBGROUPS = ACROSS * ACROSS;
// From a line of a tile to the next, in fours: of terms, and of rows or columns. Two more than there are keep the lines
// apart in the memory's banks.
const BY_TERM = 10u;
const BY_SIDE = 34u;
// From a line of a staged fragment to the next.
const STAGED = FRAGMENT + 4u;

var<workgroup> a_tile: array<vec4<f16>, 1280>;
var<workgroup> b_tile: array<vec4<f16>, 1280>;
var<workgroup> stage: array<f32, 1536>;

// Fours of a and of b on their way: at most `SIDE * TERMS / 4 / 128` a thread.
struct Fours {
    a_0: vec4<f16>, a_1: vec4<f16>, a_2: vec4<f16>, a_3: vec4<f16>,
    a_4: vec4<f16>, a_5: vec4<f16>, a_6: vec4<f16>, a_7: vec4<f16>,
    b_0: vec4<f16>, b_1: vec4<f16>, b_2: vec4<f16>, b_3: vec4<f16>,
    b_4: vec4<f16>, b_5: vec4<f16>, b_6: vec4<f16>, b_7: vec4<f16>,
}

// The place of a four in a tile: x of the terms, or of the side, that lie one after the other, and y across them.
fn place(slot: u32, by_term: bool) -> vec2<u32> {
    return select(vec2(slot % 32u, slot / 32u), vec2(slot % 8u, slot / 8u), by_term);
}

fn a_four(slot: u32, top: u32, first: u32) -> vec4<f16> {
    let at = place(slot, A_ROWS);
    let begin = select(vec2(top, first), vec2(first, top), A_ROWS) + vec2(4u * at.x, at.y);
    let end = select(vec2(params.m, params.k), vec2(params.k, params.m), A_ROWS);
    let within = begin.x < end.x && begin.y < end.y;
    let four = (begin.y * max(params.a_row, params.a_column) + begin.x) / 4u;
    return select(vec4<f16>(), a[select(0u, four, within)], within);
}

fn b_four(slot: u32, left: u32, first: u32) -> vec4<f16> {
    let at = place(slot, !B_ROWS);
    let begin = select(vec2(first, left), vec2(left, first), B_ROWS) + vec2(4u * at.x, at.y);
    let end = select(vec2(params.k, params.n), vec2(params.n, params.k), B_ROWS);
    let within = begin.x < end.x && begin.y < end.y;
    let four = (begin.y * max(params.b_row, params.b_column) + begin.x) / 4u;
    return select(vec4<f16>(), b[select(0u, four, within)], within);
}

fn fetch(index: u32, corner: vec2<u32>, first: u32) -> Fours {
    var fours: Fours;
    let top = corner.y;
    let left = corner.x;
    fours.a_0 = a_four(index, top, first);
    fours.b_0 = b_four(index, left, first);
    if THREADS < 1024u {
        fours.a_1 = a_four(index + THREADS, top, first);
        fours.b_1 = b_four(index + THREADS, left, first);
    }
    if THREADS < 512u {
        fours.a_2 = a_four(index + 2u * THREADS, top, first);
        fours.b_2 = b_four(index + 2u * THREADS, left, first);
        fours.a_3 = a_four(index + 3u * THREADS, top, first);
        fours.b_3 = b_four(index + 3u * THREADS, left, first);
    }
    if THREADS < 256u {
        fours.a_4 = a_four(index + 4u * THREADS, top, first);
        fours.b_4 = b_four(index + 4u * THREADS, left, first);
        fours.a_5 = a_four(index + 5u * THREADS, top, first);
        fours.b_5 = b_four(index + 5u * THREADS, left, first);
        fours.a_6 = a_four(index + 6u * THREADS, top, first);
        fours.b_6 = b_four(index + 6u * THREADS, left, first);
        fours.a_7 = a_four(index + 7u * THREADS, top, first);
        fours.b_7 = b_four(index + 7u * THREADS, left, first);
    }
    return fours;
}

fn put_a(slot: u32, four: vec4<f16>) {
    let at = place(slot, A_ROWS);
    a_tile[at.y * select(BY_SIDE, BY_TERM, A_ROWS) + at.x] = four;
}

fn put_b(slot: u32, four: vec4<f16>) {
    let at = place(slot, !B_ROWS);
    b_tile[at.y * select(BY_TERM, BY_SIDE, B_ROWS) + at.x] = four;
}

fn put(index: u32, fours: Fours) {
    put_a(index, fours.a_0);
    put_b(index, fours.b_0);
    if THREADS < 1024u {
        put_a(index + THREADS, fours.a_1);
        put_b(index + THREADS, fours.b_1);
    }
    if THREADS < 512u {
        put_a(index + 2u * THREADS, fours.a_2);
        put_b(index + 2u * THREADS, fours.b_2);
        put_a(index + 3u * THREADS, fours.a_3);
        put_b(index + 3u * THREADS, fours.b_3);
    }
    if THREADS < 256u {
        put_a(index + 4u * THREADS, fours.a_4);
        put_b(index + 4u * THREADS, fours.b_4);
        put_a(index + 5u * THREADS, fours.a_5);
        put_b(index + 5u * THREADS, fours.b_5);
        put_a(index + 6u * THREADS, fours.a_6);
        put_b(index + 6u * THREADS, fours.b_6);
        put_a(index + 7u * THREADS, fours.a_7);
        put_b(index + 7u * THREADS, fours.b_7);
    }
}

// The fragment of a from this row and term of its tile on.
fn a_fragment(row: u32, term: u32) -> Left {
    if A_ROWS {
        return left_by_row(row * BY_TERM + term / 4u, BY_TERM);
    }
    return left_by_column(term * BY_SIDE + row / 4u, BY_SIDE);
}

fn b_fragment(term: u32, column: u32) -> Right {
    if B_ROWS {
        return right_by_row(term * BY_SIDE + column / 4u, BY_SIDE);
    }
    return right_by_column(column * BY_TERM + term / 4u, BY_TERM);
}

// Writes a fragment that lies within out.
fn finish_whole(sums: Sums, row: u32, column: u32) {
    let at = row * params.n + column;
    if params.accumulate == 1u {
        out_store(plus(times(sums, 1.0 / params.scale), out_load(at, params.n)), at, params.n);
    } else {
        out_store(times(sums, 1.0 / params.scale), at, params.n);
    }
}

// Writes the parts within out of the fragments that all subgroups have staged, those in `place` of their squares.
fn finish_staged(corner: vec2<u32>, place: vec2<u32>, index: u32) {
    // Two columns a thread, by all threads for all subgroups.
    for (var pair = index; pair < SUBGROUPS * FRAGMENT * FRAGMENT / 2u; pair += THREADS) {
        let owner = pair / (FRAGMENT * FRAGMENT / 2u);
        let within = pair % (FRAGMENT * FRAGMENT / 2u);
        let down = within / (FRAGMENT / 2u);
        let right = 2u * (within % (FRAGMENT / 2u));
        let at = (owner * FRAGMENT + down) * STAGED + right;
        let values = vec2(stage[at], stage[at + 1u]) / params.scale;
        let to_row = corner.y + (4u * (owner / ACROSS) + place.y) * FRAGMENT + down;
        let to_column = corner.x + (4u * (owner % ACROSS) + place.x) * FRAGMENT + right;
        if HALF {
            let line = half_line(params.n);
            if to_row < params.m && to_column / 2u < line {
                out[to_row * line + to_column / 2u] = bitcast<f32>(half_bits(values));
            }
        } else {
            let to = to_row * params.n + to_column;
            if to_row < params.m && to_column < params.n {
                out[to] = values.x + select(0.0, out[to], params.accumulate == 1u);
            }
            if to_row < params.m && to_column + 1u < params.n {
                out[to + 1u] = values.y + select(0.0, out[to + 1u], params.accumulate == 1u);
            }
        }
    }
}

// The product of a workgroup whose values begin at a column x and a row y of out.
fn product(corner: vec2<u32>, index: u32, subgroup_id: u32) {
    // Smaller subgroups than expected are more; those that are left over do the same again.
    let subgroup = subgroup_id % SUBGROUPS;
    // The rows of a's tile, and columns of b's, that are this subgroup's.
    let down = subgroup / ACROSS * 4u * FRAGMENT;
    let right = subgroup % ACROSS * 4u * FRAGMENT;
    var sums_00 = nothing();
    var sums_01 = nothing();
    var sums_02 = nothing();
    var sums_03 = nothing();
    var sums_10 = nothing();
    var sums_11 = nothing();
    var sums_12 = nothing();
    var sums_13 = nothing();
    var sums_20 = nothing();
    var sums_21 = nothing();
    var sums_22 = nothing();
    var sums_23 = nothing();
    var sums_30 = nothing();
    var sums_31 = nothing();
    var sums_32 = nothing();
    var sums_33 = nothing();
    var fours = fetch(index, corner, 0u);
    for (var first = 0u; first < params.k; first += TERMS) {
        put(index, fours);
        workgroupBarrier();
        // Behind the last terms these are zeros.
        fours = fetch(index, corner, first + TERMS);
        for (var term = 0u; term < TERMS; term += FRAGMENT) {
            let b_0 = b_fragment(term, right);
            let b_1 = b_fragment(term, right + FRAGMENT);
            let b_2 = b_fragment(term, right + 2u * FRAGMENT);
            let b_3 = b_fragment(term, right + 3u * FRAGMENT);
            let a_0 = a_fragment(down, term);
            sums_00 = multiply_add(a_0, b_0, sums_00);
            sums_01 = multiply_add(a_0, b_1, sums_01);
            sums_02 = multiply_add(a_0, b_2, sums_02);
            sums_03 = multiply_add(a_0, b_3, sums_03);
            let a_1 = a_fragment(down + FRAGMENT, term);
            sums_10 = multiply_add(a_1, b_0, sums_10);
            sums_11 = multiply_add(a_1, b_1, sums_11);
            sums_12 = multiply_add(a_1, b_2, sums_12);
            sums_13 = multiply_add(a_1, b_3, sums_13);
            let a_2 = a_fragment(down + 2u * FRAGMENT, term);
            sums_20 = multiply_add(a_2, b_0, sums_20);
            sums_21 = multiply_add(a_2, b_1, sums_21);
            sums_22 = multiply_add(a_2, b_2, sums_22);
            sums_23 = multiply_add(a_2, b_3, sums_23);
            let a_3 = a_fragment(down + 3u * FRAGMENT, term);
            sums_30 = multiply_add(a_3, b_0, sums_30);
            sums_31 = multiply_add(a_3, b_1, sums_31);
            sums_32 = multiply_add(a_3, b_2, sums_32);
            sums_33 = multiply_add(a_3, b_3, sums_33);
        }
        workgroupBarrier();
    }
    let row = corner.y + down;
    let column = corner.x + right;
    let whole = corner.y + SIDE <= params.m && corner.x + SIDE <= params.n && params.n % 4u == 0u;
    if !HALF && whole {
        if subgroup_id >= SUBGROUPS {
            return;
        }
        finish_whole(sums_00, row, column);
        finish_whole(sums_01, row, column + FRAGMENT);
        finish_whole(sums_02, row, column + 2u * FRAGMENT);
        finish_whole(sums_03, row, column + 3u * FRAGMENT);
        finish_whole(sums_10, row + FRAGMENT, column);
        finish_whole(sums_11, row + FRAGMENT, column + FRAGMENT);
        finish_whole(sums_12, row + FRAGMENT, column + 2u * FRAGMENT);
        finish_whole(sums_13, row + FRAGMENT, column + 3u * FRAGMENT);
        finish_whole(sums_20, row + 2u * FRAGMENT, column);
        finish_whole(sums_21, row + 2u * FRAGMENT, column + FRAGMENT);
        finish_whole(sums_22, row + 2u * FRAGMENT, column + 2u * FRAGMENT);
        finish_whole(sums_23, row + 2u * FRAGMENT, column + 3u * FRAGMENT);
        finish_whole(sums_30, row + 3u * FRAGMENT, column);
        finish_whole(sums_31, row + 3u * FRAGMENT, column + FRAGMENT);
        finish_whole(sums_32, row + 3u * FRAGMENT, column + 2u * FRAGMENT);
        finish_whole(sums_33, row + 3u * FRAGMENT, column + 3u * FRAGMENT);
        return;
    }
    // By way of workgroup memory, a fragment of each subgroup at a time.
    let begin = subgroup * FRAGMENT * STAGED;
    for (var turn = 0u; turn < 16u; turn += 1u) {
        switch turn {
            case 0u: { stage_store(sums_00, begin, STAGED); }
            case 1u: { stage_store(sums_01, begin, STAGED); }
            case 2u: { stage_store(sums_02, begin, STAGED); }
            case 3u: { stage_store(sums_03, begin, STAGED); }
            case 4u: { stage_store(sums_10, begin, STAGED); }
            case 5u: { stage_store(sums_11, begin, STAGED); }
            case 6u: { stage_store(sums_12, begin, STAGED); }
            case 7u: { stage_store(sums_13, begin, STAGED); }
            case 8u: { stage_store(sums_20, begin, STAGED); }
            case 9u: { stage_store(sums_21, begin, STAGED); }
            case 10u: { stage_store(sums_22, begin, STAGED); }
            case 11u: { stage_store(sums_23, begin, STAGED); }
            case 12u: { stage_store(sums_30, begin, STAGED); }
            case 13u: { stage_store(sums_31, begin, STAGED); }
            case 14u: { stage_store(sums_32, begin, STAGED); }
            default: { stage_store(sums_33, begin, STAGED); }
        }
        workgroupBarrier();
        finish_staged(corner, vec2(turn % 4u, turn / 4u), index);
        workgroupBarrier();
    }
}
