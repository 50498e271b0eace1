// A sum over the 256 threads of a workgroup.

var<workgroup> sums: array<f32, 256>;

// The sum of all threads' values, known to the first.
fn total(value: f32, index: u32) -> f32 {
    sums[index] = value;
    workgroupBarrier();
    for (var half = 128u; half > 0u; half /= 2u) {
        if index < half {
            sums[index] += sums[index + half];
        }
        workgroupBarrier();
    }
    return sums[0];
}
