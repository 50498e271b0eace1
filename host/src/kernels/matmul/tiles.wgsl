// The tiles of the factors in workgroup memory, for products without matrix units: matmul.wgsl and f16.wgsl, which say what
// a `Four` is, a `Block` of four of them, and how many `TERMS` are there at a time. The value of `SIDE`, 64 or 128, comes
// from outside.

// True if the matrix lies row by row.
override A_ROWS: bool;
override B_ROWS: bool;

// Threads next to and below each other, and all of them.
const ACROSS = SIDE / 8u;
const THREADS = ACROSS * ACROSS;
// Blocks of 4 values of a term, and one that keeps the terms apart in the memory's banks.
const PITCH = SIDE / 4u + 1u;
const BUFFER = TERMS * PITCH;

var<workgroup> a_tile: array<Four, 2u * BUFFER>;
var<workgroup> b_tile: array<Four, 2u * BUFFER>;

// The place of four values in a tile: x of the terms, or of the side, that lie one after the other, and y across them.
fn place(slot: u32, by_term: bool) -> vec2<u32> {
    let across = select(SIDE, TERMS, by_term) / 4u;
    return vec2(4u * (slot % across), slot / across);
}

fn put_a(slot: u32, buffer: u32, four: Four) {
    let at = place(slot, A_ROWS);
    if A_ROWS {
        let to = buffer + at.x * PITCH + at.y / 4u;
        a_tile[to][at.y % 4u] = four.x;
        a_tile[to + PITCH][at.y % 4u] = four.y;
        a_tile[to + 2u * PITCH][at.y % 4u] = four.z;
        a_tile[to + 3u * PITCH][at.y % 4u] = four.w;
    } else {
        a_tile[buffer + at.y * PITCH + at.x / 4u] = four;
    }
}

fn put_b(slot: u32, buffer: u32, four: Four) {
    let at = place(slot, !B_ROWS);
    if B_ROWS {
        b_tile[buffer + at.y * PITCH + at.x / 4u] = four;
    } else {
        let to = buffer + at.x * PITCH + at.y / 4u;
        b_tile[to][at.y % 4u] = four.x;
        b_tile[to + PITCH][at.y % 4u] = four.y;
        b_tile[to + 2u * PITCH][at.y % 4u] = four.z;
        b_tile[to + 3u * PITCH][at.y % 4u] = four.w;
    }
}

fn add(sums: Block, rows: Four, columns: Four) -> Block {
    return Block(
        fma(Four(rows.x), columns, sums[0]),
        fma(Four(rows.y), columns, sums[1]),
        fma(Four(rows.z), columns, sums[2]),
        fma(Four(rows.w), columns, sums[3]),
    );
}

fn finish_block(row: u32, column: u32, sums: mat4x4<f32>) {
    finish(row, column, sums[0]);
    finish(row + 1u, column, sums[1]);
    finish(row + 2u, column, sums[2]);
    finish(row + 3u, column, sums[3]);
}

