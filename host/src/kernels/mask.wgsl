// The mask of pairs that share an item: a workgroup a row.

struct Params { first_row: u32, rows: u32, first_column: u32, columns: u32, pairs: u32 }

var<immediate> params: Params;

@group(0) @binding(1) var<storage, read> items: array<u32>;
@group(0) @binding(2) var<storage, read_write> tile: array<f32>;

const MASKED = -1e30;

// True if two pairs have an item of the side whose items are lists `side` and `side + 1`.
fn share(i: u32, j: u32, side: u32) -> bool {
    let here = side * params.pairs;
    let next = here + params.pairs;
    let a = items[here + i];
    let b = items[next + i];
    let c = items[here + j];
    let d = items[next + j];
    return a == c || a == d || b == c || b == d;
}

@compute @workgroup_size(64)
fn mask(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let at = group.y * groups.x + group.x;
    if at < params.rows {
        let i = params.first_row + at;
        for (var k = index; k < params.columns; k += 64u) {
            let j = params.first_column + k;
            if i != j && (share(i, j, 0u) || share(i, j, 2u)) {
                tile[at * params.columns + k] = MASKED;
            }
        }
    }
}
