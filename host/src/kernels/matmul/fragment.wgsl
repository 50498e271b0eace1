// Fragments that the subgroups of a GPU with matrix units hold together, for cooperative.wgsl; their size, and what they
// are called, are in fragment_8.wgsl or fragment_16.wgsl.

fn nothing() -> Sums {
    return Sums();
}

fn left_by_row(at: u32, pitch: u32) -> Left {
    return coopLoadT<Left>(&a_tile[at], pitch);
}

fn left_by_column(at: u32, pitch: u32) -> Left {
    return coopLoad<Left>(&a_tile[at], pitch);
}

fn right_by_row(at: u32, pitch: u32) -> Right {
    return coopLoadT<Right>(&b_tile[at], pitch);
}

fn right_by_column(at: u32, pitch: u32) -> Right {
    return coopLoad<Right>(&b_tile[at], pitch);
}

fn multiply_add(left: Left, right: Right, sums: Sums) -> Sums {
    return coopMultiplyAdd(left, right, sums);
}

fn times(sums: Sums, factor: f32) -> Sums {
    return sums * factor;
}

fn plus(sums: Sums, others: Sums) -> Sums {
    return sums + others;
}

fn out_load(at: u32, pitch: u32) -> Sums {
    return coopLoadT<Sums>(&out[at], pitch);
}

fn out_store(sums: Sums, at: u32, pitch: u32) {
    coopStoreT(sums, &out[at], pitch);
}

fn stage_store(sums: Sums, at: u32, pitch: u32) {
    coopStoreT(sums, &stage[at], pitch);
}

@compute @workgroup_size(THREADS)
fn matmul_cooperative(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    product(SIDE * group.xy, index, subgroup);
}
