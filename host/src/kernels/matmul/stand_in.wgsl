enable f16;

// A stand-in for the fragments of cooperative.wgsl, in plain WGSL, so that tests reach all but the matrix units
// themselves. Of a fragment of sums a thread holds eight values, `LANES` apart; factors stay in workgroup memory until
// they are multiplied. The value of `FRAGMENT` comes from outside.

alias Left = Place;
alias Right = Place;
alias Sums = array<f32, 8>;

// The value in line x, at y of it, is at `at * 4 + x * line + y * step`.
struct Place { at: u32, line: u32, step: u32 }

const LANES = FRAGMENT * FRAGMENT / 8u;

var<private> lane: u32;

fn nothing() -> Sums {
    return Sums();
}

fn left_by_row(at: u32, pitch: u32) -> Left {
    return Place(at, 4u * pitch, 1u);
}

fn left_by_column(at: u32, pitch: u32) -> Left {
    return Place(at, 1u, 4u * pitch);
}

fn right_by_row(at: u32, pitch: u32) -> Right {
    return Place(at, 4u * pitch, 1u);
}

fn right_by_column(at: u32, pitch: u32) -> Right {
    return Place(at, 1u, 4u * pitch);
}

fn multiply_add(left: Left, right: Right, sums: Sums) -> Sums {
    var more = sums;
    // As many as the fragment has, which a compiler that would write them all out cannot see.
    let terms = min(FRAGMENT, FRAGMENT + params.k);
    for (var i = 0u; i < 8u; i += 1u) {
        let row = (LANES * i + lane) / FRAGMENT;
        let column = (LANES * i + lane) % FRAGMENT;
        for (var term = 0u; term < terms; term += 1u) {
            let a_at = 4u * left.at + row * left.line + term * left.step;
            let b_at = 4u * right.at + term * right.line + column * right.step;
            more[i] += f32(a_tile[a_at / 4u][a_at % 4u]) * f32(b_tile[b_at / 4u][b_at % 4u]);
        }
    }
    return more;
}

fn times(sums: Sums, factor: f32) -> Sums {
    var scaled = sums;
    for (var i = 0u; i < 8u; i += 1u) {
        scaled[i] *= factor;
    }
    return scaled;
}

fn plus(sums: Sums, others: Sums) -> Sums {
    var both = sums;
    var more = others;
    for (var i = 0u; i < 8u; i += 1u) {
        both[i] += more[i];
    }
    return both;
}

// The place of value `i` in lines that are `pitch` apart.
fn spot(i: u32, pitch: u32) -> u32 {
    return (LANES * i + lane) / FRAGMENT * pitch + (LANES * i + lane) % FRAGMENT;
}

fn out_load(at: u32, pitch: u32) -> Sums {
    var sums: Sums;
    for (var i = 0u; i < 8u; i += 1u) {
        sums[i] = out[at + spot(i, pitch)];
    }
    return sums;
}

fn out_store(sums: Sums, at: u32, pitch: u32) {
    var values = sums;
    for (var i = 0u; i < 8u; i += 1u) {
        out[at + spot(i, pitch)] = values[i];
    }
}

fn stage_store(sums: Sums, at: u32, pitch: u32) {
    var values = sums;
    for (var i = 0u; i < 8u; i += 1u) {
        stage[at + spot(i, pitch)] = values[i];
    }
}

@compute @workgroup_size(THREADS)
fn matmul_stand_in(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    lane = index % LANES;
    product(SIDE * group.xy, index, index / LANES);
}
